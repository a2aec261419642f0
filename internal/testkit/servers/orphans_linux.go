package servers

import (
	"os/exec"
	"syscall"
)

// endWithUs lets a server end with the test program, also when that panics or
// is killed and no cleanup runs.
func endWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
