package report

import (
	"bytes"
	"fmt"
	"html"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// draw draws a chart of horizontal bars as SVG, with a line over each bar from
// the least to the most that was measured.
func draw(c suite.Chart) []byte {
	const (
		width, left, right = 860, 330, 110
		top, step, height  = 50, 34, 20
	)
	most := 0.0
	for _, bar := range c.Bars {
		most = max(most, bar.Value, bar.High)
	}
	x := func(value float64) float64 { return left + value/most*(width-left-right) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", width, top+step*len(c.Bars)+10)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	fmt.Fprintf(&b, `<text x="10" y="25" font-size="16" font-weight="bold">%s</text>`+"\n", html.EscapeString(c.Title))
	for i, bar := range c.Bars {
		y := top + step*i
		fill := "#9aa5b1"
		if i == 0 {
			fill = "#2f6fbb"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-8, y+height-5, html.EscapeString(bar.Label))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", left, y, x(bar.Value)-left, height, fill)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="black" stroke-width="2"/>`+"\n", x(bar.Low), x(bar.High), y+height/2, y+height/2)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s %s</text>`+"\n", x(max(bar.Value, bar.High))+6, y+height-5, suite.Number(bar.Value), html.EscapeString(c.Unit))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
