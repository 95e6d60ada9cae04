package envoy

import (
	"os/exec"
	"syscall"
)

// ownGroup gives the child a process group, and has it killed when its parent dies.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
