package sqlstore_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// B16: like TestCrash_kill, but the disk stops too and keeps only what has been
// synced: a file system in an image file is shut down as in a power cut. This needs
// root.
func TestCrash_power(t *testing.T) {
	if os.Getenv(measureEnv) == "" {
		t.Skip("needs root and loop devices: set " + measureEnv)
	}
	for _, c := range crashes {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t)
			t.Setenv("TMPDIR", d.mounted)
			m := c.start(t)
			m.stores(t) // creates the table
			d.sync(t)
			r := crash(t, m, 1000, 1, func(t testing.TB) {
				m.freeze() // after the cut it must acknowledge nothing
				d.cut(t)
				m.kill(t)
				d.remount(t)
			})
			if c.durable {
				require.Zero(t, r.Twice)
				require.Zero(t, r.GivenBack)
				require.Zero(t, r.Gone)
			}
		})
	}
}

// disk is an ext4 file system in a file.
type disk struct{ image, mounted string }

func newDisk(t *testing.T) disk {
	dir, err := os.MkdirTemp("", "otp-test-disk-")
	require.NoError(t, err)
	d := disk{filepath.Join(dir, "image"), filepath.Join(dir, "mounted")}
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Mkdir(d.mounted, 0o755))
	require.NoError(t, os.WriteFile(d.image, nil, 0o600))
	require.NoError(t, os.Truncate(d.image, 1<<30))
	run(t, "mkfs.ext4", "-q", "-F", d.image)
	d.mount(t)
	require.NoError(t, os.Chmod(d.mounted, 0o777)) // servers run as other users
	t.Cleanup(func() {
		d.unmount(t)
		os.RemoveAll(dir)
	})
	return d
}

func (d disk) mount(t testing.TB) {
	run(t, "mount", "-o", "loop", d.image, d.mounted)
}

func (d disk) unmount(t testing.TB) { run(t, "umount", d.mounted) }

func (d disk) remount(t testing.TB) {
	d.unmount(t)
	d.mount(t)
}

func (d disk) sync(t testing.TB) { run(t, "sync", "-f", d.mounted) }

// cut is EXT4_IOC_SHUTDOWN without a flush of the journal.
func (d disk) cut(t testing.TB) {
	f, err := os.Open(d.mounted)
	require.NoError(t, err)
	defer f.Close()
	const ioctl, noLogFlush = 0x8004587d, uint32(2)
	flag := noLogFlush
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctl, uintptr(unsafe.Pointer(&flag)))
	require.Zero(t, errno, errno)
}

func run(t testing.TB, args ...string) {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	require.NoError(t, err, "%v: %s", args, out)
}
