package scaffold

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// SDKModule is the module that has the SDK.
const SDKModule = "github.com/stephost/stephost"

// SDK is where a new module gets the SDK from.
type SDK struct {
	// Version is a published version.
	Version string
	// Dir is a source tree that replaces the module; it wins over Version.
	Dir string
}

// requirement is the version in the require directive. A replaced module needs
// one that nobody publishes.
func (s SDK) requirement() string {
	if s.Dir != "" {
		return "v0.0.0"
	}
	return s.Version
}

// FindSDK returns the SDK that belongs to this program: the version that a
// release was built from, or the source tree of a development build. dir, where
// it is not empty, names the source tree.
func FindSDK(dir string) (SDK, error) {
	if dir != "" {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return SDK{}, err
		}
		if !isSource(absolute) {
			return SDK{}, fmt.Errorf("%s is not the source tree of %s", dir, SDKModule)
		}
		return SDK{Dir: absolute}, nil
	}
	info, _ := debug.ReadBuildInfo()
	if version := published(info); version != "" {
		return SDK{Version: version}, nil
	}
	_, file, _, _ := runtime.Caller(0)
	return sourceAround(file)
}

// published returns the version of this program if it can be downloaded: it
// came from a module proxy, or was built from a clean checkout of a tag.
func published(info *debug.BuildInfo) string {
	if info == nil || info.Main.Path != SDKModule || !semver.IsValid(info.Main.Version) {
		return ""
	}
	version := info.Main.Version
	tagged := !module.IsPseudoVersion(version) && semver.Build(version) == ""
	if info.Main.Sum != "" || tagged {
		return version
	}
	return ""
}

// sourceAround finds the source tree that a file, as the compiler recorded it,
// belongs to.
func sourceAround(file string) (SDK, error) {
	if filepath.IsAbs(file) {
		for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
			if isSource(dir) {
				return SDK{Dir: dir}, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return SDK{}, errors.New("this is a development build and its source tree is not here: name it with --sdk DIR")
}

// isSource reports whether a directory is the root of the SDK's module.
func isSource(dir string) bool {
	content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.TrimSpace(modfile.ModulePath(content)) == SDKModule
}
