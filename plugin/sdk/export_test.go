package sdk

// LimitResults lowers the bound on one result.
func (s *Server) LimitResults(bytes int) { s.svc.maxResultBytes = bytes }

// Debugged serves as in a debugger.
func (s *Server) Debugged() { s.svc.untimed = true }
