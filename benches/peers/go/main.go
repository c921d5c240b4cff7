// The peer go-systemd, used as opencontainers/cgroups does: a channel of capacity one for each job, and 30 s. Callers are
// goroutines that share one connection.
//
//	go system OPS CONCURRENCY SLICE PIDS-FILE
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/dbus"
	"github.com/godbus/dbus"
)

type phase struct {
	Wall   int64   `json:"wall_ns"`
	CPU    int64   `json:"cpu_ns"`
	Times  []int64 `json:"times_ns"`
	Errors int64   `json:"errors"`
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go:", err)
		os.Exit(1)
	}
}

func processor() int64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// Waits as opencontainers/cgroups does.
func wait(result chan string) error {
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	select {
	case said := <-result:
		if said != "done" {
			return fmt.Errorf("job: %s", said)
		}
		return nil
	case <-timeout.C:
		return fmt.Errorf("job: no result within 30 s")
	}
}

func run(count, callers int, call func(at int, result chan string) error) phase {
	done := phase{Times: make([]int64, count)}
	var group sync.WaitGroup
	var next int64 = -1
	cpu, begun := processor(), time.Now()
	for caller := 0; caller < callers; caller++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for at := atomic.AddInt64(&next, 1); at < int64(count); at = atomic.AddInt64(&next, 1) {
				from := time.Now()
				result := make(chan string, 1)
				err := call(int(at), result)
				if err == nil {
					err = wait(result)
				}
				done.Times[at] = time.Since(from).Nanoseconds()
				if err != nil {
					fmt.Fprintln(os.Stderr, "go:", err)
					atomic.AddInt64(&done.Errors, 1)
				}
			}
		}()
	}
	group.Wait()
	done.Wall, done.CPU = time.Since(begun).Nanoseconds(), processor()-cpu
	return done
}

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: go system OPS CONCURRENCY SLICE PIDS-FILE")
		os.Exit(64)
	}
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	callers, err := strconv.Atoi(os.Args[3])
	must(err)
	text, err := os.ReadFile(os.Args[5])
	must(err)
	pids, ctx := strings.Fields(string(text)), context.Background()
	connection, err := systemd.NewWithContext(ctx)
	must(err)
	name := func(at int) string { return fmt.Sprintf("bench-go%d-%d.scope", os.Getpid(), at) }

	created := run(count, callers, func(at int, result chan string) error {
		pid, err := strconv.ParseUint(pids[at], 10, 32)
		must(err)
		properties := []systemd.Property{
			systemd.PropSlice(os.Args[4]),
			{Name: "DefaultDependencies", Value: dbus.MakeVariant(false)},
			systemd.PropPids(uint32(pid)),
		}
		_, err = connection.StartTransientUnitContext(ctx, name(at), "fail", properties, result)
		return err
	})
	stopped := run(count, callers, func(at int, result chan string) error {
		_, err := connection.StopUnitContext(ctx, name(at), "replace", result)
		return err
	})
	must(json.NewEncoder(os.Stdout).Encode(map[string]phase{"create": created, "stop": stopped}))
}
