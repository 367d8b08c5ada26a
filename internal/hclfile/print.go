package hclfile

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Print writes the diagnostics for people, in the order of the file: severity
// and summary, file:line,column, the source line with a marker, the detail.
// Text that was written for a secret key is masked in the source line: a key
// that the diagnostic's [Secrets] name, or one of secrets, which are secret
// everywhere.
func Print(w io.Writer, diags hcl.Diagnostics, files map[string]*hcl.File, secrets ...string) error {
	var out bytes.Buffer
	for i, diag := range Tidy(slices.Clone(diags)) {
		if i > 0 {
			out.WriteByte('\n')
		}
		severity := "Error"
		if diag.Severity == hcl.DiagWarning {
			severity = "Warning"
		}
		fmt.Fprintf(&out, "%s: %s\n", severity, diag.Summary)
		if diag.Subject != nil {
			at := diag.Subject
			fmt.Fprintf(&out, "  on %s:%d,%d\n", at.Filename, at.Start.Line, at.Start.Column)
			if file := files[at.Filename]; file != nil {
				printLine(&out, file.Bytes, diag, secrets)
			}
		}
		if diag.Detail != "" {
			fmt.Fprintf(&out, "  %s\n", diag.Detail)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// printLine shows the first line of the subject and marks it.
func printLine(out *bytes.Buffer, src []byte, diag *hcl.Diagnostic, secrets []string) {
	at := diag.Subject
	lines := bytes.Split(mask(src, at.Filename, diag, secrets), []byte("\n"))
	if at.Start.Line < 1 || at.Start.Line > len(lines) {
		return
	}
	line := strings.TrimRight(string(lines[at.Start.Line-1]), "\r")
	number := fmt.Sprintf("%4d", at.Start.Line)
	fmt.Fprintf(out, "%s | %s\n", number, line)

	// Tabs stay tabs so that the marker stands below what it marks.
	var indent strings.Builder
	column := 1
	for _, c := range line {
		if column >= at.Start.Column {
			break
		}
		if c == '\t' {
			indent.WriteByte('\t')
		} else {
			indent.WriteByte(' ')
		}
		column++
	}
	width := at.End.Column - at.Start.Column
	if at.End.Line != at.Start.Line {
		width = len([]rune(line)) + 1 - at.Start.Column
	}
	fmt.Fprintf(out, "%s | %s%s\n", strings.Repeat(" ", len(number)), indent.String(), strings.Repeat("^", max(width, 1)))
}

// Secrets is the Extra of a diagnostic about a part of a file that has secrets
// of its own, such as a plugin's config block: the names of their keys.
type Secrets map[string]bool

// mask overwrites literal text that is assigned to a secret key. It works on
// tokens, since the line may be one that does not parse.
func mask(src []byte, filename string, diag *hcl.Diagnostic, secrets []string) []byte {
	named, _ := hcl.DiagnosticExtra[Secrets](diag)
	tokens, _ := hclsyntax.LexConfig(src, filename, hcl.InitialPos)
	masked := slices.Clone(src)
	depth, secret := 0, false
	for i, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenIdent:
			if !secret && i+1 < len(tokens) && tokens[i+1].Type == hclsyntax.TokenEqual {
				name := string(t.Bytes)
				secret = named[name] || slices.Contains(secrets, name)
				depth = 0
			}
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen:
			depth--
		case hclsyntax.TokenNewline:
			secret = secret && depth > 0
		case hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit, hclsyntax.TokenNumberLit:
			if secret && !variableName(tokens[:i]) {
				for b := t.Range.Start.Byte; b < t.Range.End.Byte; b++ {
					if masked[b] != '\n' {
						masked[b] = '*'
					}
				}
			}
		}
	}
	return masked
}

// variableName reports whether the tokens end with env(" so that the text that
// follows is a name.
func variableName(before hclsyntax.Tokens) bool {
	n := len(before)
	return n >= 3 && before[n-1].Type == hclsyntax.TokenOQuote && before[n-2].Type == hclsyntax.TokenOParen &&
		string(before[n-3].Bytes) == "env"
}

// Tidy sorts by position and drops what could show values: the library's
// writer prints the variables of an expression.
func Tidy(diags hcl.Diagnostics) hcl.Diagnostics {
	for _, diag := range diags {
		diag.Expression, diag.EvalContext = nil, nil
		if diag.Summary == "Duplicate object key" {
			diag.Detail = "Two items have the same key."
		}
	}
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		if a.Subject == nil || b.Subject == nil {
			return cmp.Compare(boolInt(a.Subject != nil), boolInt(b.Subject != nil))
		}
		return cmp.Or(
			cmp.Compare(a.Subject.Filename, b.Subject.Filename),
			cmp.Compare(a.Subject.Start.Byte, b.Subject.Start.Byte),
			cmp.Compare(a.Summary, b.Summary),
			cmp.Compare(a.Detail, b.Detail),
		)
	})
	return diags
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
