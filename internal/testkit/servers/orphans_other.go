//go:build !linux

package servers

import "os/exec"

// endWithUs can do nothing here.
func endWithUs(*exec.Cmd) {}
