package queue

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
)

// TestMain lets the test binary be its own child.
func TestMain(m *testing.M) {
	if path := os.Getenv("TIDEOVER_QUEUE_CHILD"); path != "" {
		sellUntilKilled(path)
	}
	if path := os.Getenv("TIDEOVER_QUEUE_BACKUP"); path != "" {
		if _, err := BackupFile(path, path+".backup", testKey, testStore); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	if path := os.Getenv("TIDEOVER_QUEUE_RESTORE"); path != "" {
		if _, err := RestoreFile(filepath.Join(filepath.Dir(path), "copy"), path, testKey, testStore); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childTills is how many tills press at once in the child.
const childTills = 8

// sellUntilKilled accepts, ends and acknowledges as fast as it can, and says on stdout what was answered, after it was.
func sellUntilKilled(path string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore, LazyMax: 5 * time.Millisecond})
	if err != nil {
		fail(err)
	}
	go func() { fail(q.Run(context.Background())) }()
	var mu sync.Mutex
	say := func(what string, id tideover.ID) {
		mu.Lock()
		defer mu.Unlock()
		os.Stdout.WriteString(what + " " + id.String() + "\n")
	}
	var wg sync.WaitGroup
	for till := range childTills {
		wg.Go(func() {
			for i := 0; ; i++ {
				d := draft(fmt.Sprint("till", till), fmt.Sprint(os.Getpid(), "-", i))
				if _, err := q.Accept(context.Background(), d, yes); err != nil {
					fail(err)
				}
				say("accepted", d.ID)
				if i%2 == 0 {
					continue
				}
				if err := q.End(told(d.ID, 0, tideover.StateApproved)); err != nil {
					fail(err)
				}
				tx, err := q.Get(d.ID)
				if err != nil {
					fail(err)
				}
				if _, err := q.Acknowledge(context.Background(), d.ID, tx.Seq); err != nil {
					fail(err)
				}
				say("acknowledged", d.ID)
			}
		})
	}
	wg.Wait()
}

// TestKill_WhatWasAnsweredIsThere kills a child again and again on the same file.
func TestKill_WhatWasAnsweredIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := Create(path, testKey, Ident{Store: testStore}); err != nil {
		t.Fatal(err)
	}
	said := make(map[tideover.ID]string)
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), "TIDEOVER_QUEUE_CHILD="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		heard, enough := 0, 25+rand.IntN(200) // by count: a slow machine is killed no earlier
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			what, text, _ := strings.Cut(lines.Text(), " ")
			id, err := tideover.ParseID(text)
			if err != nil {
				break // the last line may be half
			}
			said[id] = what
			if heard++; heard == enough {
				time.AfterFunc(time.Duration(rand.IntN(5_000))*time.Microsecond, func() { child.Process.Kill() })
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == 2 {
			t.Fatalf("the child ended by itself: %v", err)
		}
		check(t, path)
	}
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for id, what := range said {
		tx, err := q.Get(id)
		if err != nil {
			t.Fatalf("%s was %s, and is gone: %v", id, what, err)
		}
		if what == "acknowledged" && (!tx.Acknowledged || tx.State != tideover.StateApproved) {
			t.Fatalf("was acknowledged, and is %+v", tx)
		}
	}
	if len(said) < 15*rounds {
		t.Errorf("only %d were answered", len(said))
	}
	t.Logf("%d answered, %d in the journal, 0 lost", len(said), q.Stats().Transactions)
}
