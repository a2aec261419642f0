package servers

import (
	"os/exec"
	"syscall"
)

// endWithUs kills a server together with the test program, even when that panics
// or is killed and no cleanup runs.
func endWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
