package cli

import (
	"testing"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
)

func TestMain(m *testing.M) { devpgtest.Main(m) }
