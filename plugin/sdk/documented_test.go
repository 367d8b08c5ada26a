package sdk_test

import (
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parsed returns the files of a package directory, tests or others.
func parsed(t *testing.T, fset *token.FileSet, dir string, tests bool) []*ast.File {
	t.Helper()
	var files []*ast.File
	entries, err := fs.Glob(os.DirFS(dir), "*.go")
	require.NoError(t, err)
	for _, name := range entries {
		if strings.HasSuffix(name, "_test.go") == tests {
			file, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments)
			require.NoError(t, err)
			files = append(files, file)
		}
	}
	return files
}

// exportedNames are a package's exported constants, variables, functions and
// types.
func exportedNames(files []*ast.File) []string {
	var names []string
	add := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	for _, file := range files {
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv == nil {
					add(decl.Name)
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						add(spec.Name)
					case *ast.ValueSpec:
						for _, id := range spec.Names {
							add(id)
						}
					}
				}
			}
		}
	}
	return names
}

func TestEveryExportedNameIsInAnExample(t *testing.T) {
	t.Parallel()

	for pkg, dir := range map[string]string{"sdk": ".", "sdktest": "sdktest"} {
		fset := token.NewFileSet()
		used := map[string]bool{}
		for _, file := range parsed(t, fset, dir, true) {
			if !strings.HasPrefix(filepath.Base(fset.Position(file.Pos()).Filename), "example_") {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg {
						used[sel.Sel.Name] = true
					}
				}
				return true
			})
		}
		for _, name := range exportedNames(parsed(t, fset, dir, false)) {
			if !used[name] && !implied[pkg+"."+name] {
				t.Errorf("no example uses %s.%s", pkg, name)
			}
		}
	}
}

// implied are types that examples use without naming them: what the functions
// that they do name take and return.
var implied = map[string]bool{
	"sdk.EmitOption": true, "sdk.HandlerOption": true, "sdk.Info": true, "sdk.Option": true, "sdk.Server": true,
	"sdk.Target": true, "sdktest.Failure": true, "sdktest.Host": true, "sdktest.Message": true, "sdktest.Option": true,
	"sdktest.Result": true, "sdktest.Step": true, "sdktest.StepOption": true, "sdktest.TB": true, "sdktest.Verdict": true,
}

// The tutorials show code that compiles and works, because each block of Go in
// them stands, line by line, in a program of internal/tutorial.
func TestTutorialsShowCodeThatCompiles(t *testing.T) {
	t.Parallel()

	var compiled strings.Builder
	programs, err := filepath.Glob("internal/tutorial/*/*.go")
	require.NoError(t, err)
	for _, name := range programs {
		src, err := os.ReadFile(name)
		require.NoError(t, err)
		compiled.WriteString(flat(string(src)))
	}
	for _, dir := range []string{".", "sdktest"} {
		fset := token.NewFileSet()
		pkg, err := doc.NewFromFiles(fset, parsed(t, fset, dir, false), "x", doc.PreserveAST)
		require.NoError(t, err)
		blocks := 0
		for _, block := range codeBlocks(pkg.Parser().Parse(pkg.Doc)) {
			if notGo(block) {
				continue
			}
			blocks++
			if !strings.Contains(compiled.String(), flat(block)) {
				t.Errorf("%s/doc.go shows code that stands in no program of internal/tutorial:\n%s", dir, block)
			}
		}
		require.Greater(t, blocks, 5)
	}
}

func TestReadmeShowsCodeThatCompiles(t *testing.T) {
	t.Parallel()

	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var compiled strings.Builder
	for _, name := range []string{"main.go", "main_test.go"} {
		src, err := os.ReadFile("internal/tutorial/first/" + name)
		require.NoError(t, err)
		compiled.WriteString(flat(string(src)))
	}
	blocks := strings.Split(string(readme), "```go\n")[1:]
	require.Len(t, blocks, 2)
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(compiled.String(), flat(block)) {
			t.Errorf("README.md shows code that differs from internal/tutorial/first:\n%s", block)
		}
	}
}

func codeBlocks(d *comment.Doc) []string {
	var blocks []string
	for _, content := range d.Content {
		if code, ok := content.(*comment.Code); ok {
			blocks = append(blocks, code.Text)
		}
	}
	return blocks
}

// notGo recognises what is for the shell or for config.hcl.
func notGo(block string) bool {
	for _, start := range []string{"stephost ", "go ", "make ", "plugin \"", "namespace \"", "config {"} {
		if strings.HasPrefix(block, start) {
			return true
		}
	}
	return false
}

// flat drops indentation, empty lines and the alignment of gofmt, which all
// depend on where the code stands.
func flat(src string) string {
	var b strings.Builder
	for line := range strings.Lines(src) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
