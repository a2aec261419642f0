// Command bench compares the library with the bare calls that it is made of,
// with a floor and with other libraries, and prints what the README quotes.
//
// All variants run turn by turn in one loop, and the figures are the medians
// of the ratios of each round. Absolute times are there for orientation.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/go-mailotp/otp"
)

func main() {
	blocks := flag.Int("blocks", 31, "rounds of each comparison")
	many := flag.Int("pending", 1_000_000, "pending challenges of the last comparison")
	only := flag.String("run", "", "only the comparison with this title")
	events := flag.Int("events", 100_000, "events under the page of otpstats; ten million take a quarter of an hour and 3 GB")
	file := flag.String("file", "", "keep them in this file of SQLite, and use what is in it; -events says how many")
	profile := flag.String("cpuprofile", "", "write a profile of five seconds of Send and Check to this file, and do nothing else")
	flag.Parse()
	var err error
	if *profile != "" {
		err = profiled(*profile)
	} else {
		err = all(os.Stdout, *only, *blocks, *many, *events, *file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// all prints every table, or only the one with a title.
func all(w io.Writer, only string, blocks, many, events int, file string) error {
	fmt.Fprintf(w, "%s %s/%s, %d CPUs; medians of %d rounds [least..most]\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), blocks)
	lists, err := variants()
	if err != nil {
		return err
	}
	for _, l := range lists {
		if only != "" && only != l.title {
			continue
		}
		if err := table(w, l.title, blocks, cores, l.variants...); err != nil {
			return err
		}
	}
	if only == "" || only == storesTitle {
		if err := atStores(w, blocks); err != nil {
			return err
		}
	}
	if only == "" || only == smtpTitle {
		if err := atSMTP(w, blocks); err != nil {
			return err
		}
	}
	if only == "" || only == observersTitle {
		if err := atObservers(w, blocks); err != nil {
			return err
		}
	}
	if only == "" || only == pageTitle {
		if err := atPage(w, min(blocks, 11), events, file); err != nil {
			return err
		}
	}
	if only != "" && only != scaleTitle {
		return nil
	}
	return atScale(w, blocks, many)
}

// comparison is one table.
type comparison struct {
	title    string
	variants []*variant
}

// variants makes them all; the first of a list is what the others are
// measured by.
func variants() ([]comparison, error) {
	bareCycle, err := bareSendCheck()
	if err != nil {
		return nil, err
	}
	cycle, err := librarySendCheck("library: Send and Check", otp.NewMemoryStore(nil))
	if err != nil {
		return nil, err
	}
	bareCheck, err := bareWrong()
	if err != nil {
		return nil, err
	}
	wrong, err := libraryWrong(otp.NewMemoryStore(nil), nil)
	if err != nil {
		return nil, err
	}
	bareRendered, err := bareMail()
	if err != nil {
		return nil, err
	}
	rendered, err := libraryMail(otp.NewMemoryStore(nil))
	if err != nil {
		return nil, err
	}
	return []comparison{
		{"Send and Check", []*variant{bareCycle, floor(), cycle, pquerna()}},
		{"Check of a wrong code", []*variant{bareCheck, wrong}},
		{"Send with a rendered mail", []*variant{bareRendered, rendered}},
	}, nil
}

// profiled writes a CPU profile of Send and Check on one core.
func profiled(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	v, err := librarySendCheck("profiled", otp.NewMemoryStore(nil))
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	for start := time.Now(); time.Since(start) < 5*time.Second; {
		if _, err := v.block(1); err != nil {
			return err
		}
	}
	return nil
}
