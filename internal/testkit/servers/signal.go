package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// signal uses the program kill, so that this package builds on every system. After
// STOP it waits until no thread of the processes runs.
func signal(name string, pids ...int) {
	args := []string{"-" + name}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	if len(pids) == 0 {
		return
	}
	exec.Command("kill", args...).Run() // fails if one of them has ended
	if name != "STOP" {
		return
	}
	for deadline := time.Now().Add(time.Minute); running(pids) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// running reports whether a thread of the processes still runs. The signal stops
// them only when one of the threads is scheduled to handle it.
func running(pids []int) bool {
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // none without /proc
		for _, thread := range threads {
			if _, state := stat(thread); state != "T" && state != "Z" && state != "" {
				return true
			}
		}
	}
	return false
}

// stat returns a process's parent and state, or 0 and "" if it does not exist.
func stat(path string) (parent int, state string) {
	text, _ := os.ReadFile(path)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0, ""
	}
	parent, _ = strconv.Atoi(fields[1])
	return parent, fields[0]
}
