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
	if name := os.Getenv("TIDEOVER_QUEUE_DEED"); name != "" {
		doUntilKilled(name, os.Getenv("TIDEOVER_QUEUE_DIR"))
	}
	if path := os.Getenv("TIDEOVER_QUEUE_BACKUP"); path != "" {
		if _, err := BackupFile(path, path+".backup", testKey, testStore); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	if path := os.Getenv("TIDEOVER_QUEUE_OPEN"); path != "" {
		q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
		if err == nil {
			err = q.Close()
		}
		if err != nil {
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
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore, LazyMax: 5 * time.Millisecond})
	fail(err)
	go func() { fail(q.Run(context.Background())) }()
	var mu sync.Mutex
	say := func(what string, id tideover.ID) {
		mu.Lock()
		defer mu.Unlock()
		os.Stdout.WriteString(what + " " + id.String() + "\n")
	}
	var wg sync.WaitGroup
	for till := range childTills {
		wg.Go(func() { sell(q, fmt.Sprint("till", till), 0, say, fail) })
	}
	wg.Wait()
}

// sell presses at one till for ever: every other sale is ended and acknowledged. What was answered is said after it was.
func sell(q *Queue, till string, pause time.Duration, say func(what string, id tideover.ID), fail func(error)) {
	for i := 0; ; i++ {
		d := draft(till, fmt.Sprint(os.Getpid(), "-", i))
		_, err := q.Accept(context.Background(), d, yes)
		fail(err)
		say("accepted", d.ID)
		time.Sleep(pause)
		if i%2 == 0 {
			continue
		}
		fail(q.End(told(d.ID, 0, tideover.StateApproved)))
		tx, err := q.Get(d.ID)
		fail(err)
		_, err = q.Acknowledge(context.Background(), d.ID, tx.Seq)
		fail(err)
		say("acknowledged", d.ID)
	}
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
