package processor

import "slices"

// laneTable says which lanes there are. A table is never changed, only replaced,
// so whoever reads it needs no lock.
type laneTable struct {
	// all has the lanes that serve and those that only finish what they have in
	// hand.
	all     []*lane
	byName  map[string]*lane // those that serve
	byQueue map[string]*lane
}

func newLaneTable(serving, leaving []*lane) *laneTable {
	t := &laneTable{
		all:     slices.Concat(serving, leaving),
		byName:  make(map[string]*lane, len(serving)),
		byQueue: make(map[string]*lane, len(serving)+len(leaving)),
	}
	for _, l := range leaving {
		t.byQueue[l.queue] = l // a late hint is no error
	}
	for _, l := range serving {
		t.byName[l.name] = l
		t.byQueue[l.queue] = l
	}
	return t
}

// leaving are the lanes that do not serve.
func (t *laneTable) leaving() []*lane {
	var lanes []*lane
	for _, l := range t.all {
		if t.byName[l.name] != l {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

// serving are the lanes that serve.
func (t *laneTable) serving() []*lane {
	var lanes []*lane
	for _, l := range t.all {
		if t.byName[l.name] == l {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

// missingFrom are the serving lanes that are none of the namespaces'.
func (t *laneTable) missingFrom(namespaces []Namespace) []*lane {
	stays := make(map[*lane]bool, len(namespaces))
	for _, ns := range namespaces {
		if l := t.byName[ns.Name]; l != nil && l.queue == ns.Queue {
			stays[l] = true
		}
	}
	return slices.DeleteFunc(t.serving(), func(l *lane) bool { return stays[l] })
}

// dropping is the table without a lane that has left.
func (t *laneTable) dropping(gone *lane) *laneTable {
	return newLaneTable(t.serving(), slices.DeleteFunc(t.leaving(), func(l *lane) bool { return l == gone }))
}

func (p *Processor) table() *laneTable { return p.lanes.Load() }
