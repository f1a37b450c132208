package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"tideover/bench/rounds"
)

// The sizes that a usual transaction has.
const (
	answerBytes = 560 // a Transaction as the terminal's API writes it
	frameBytes  = 400 // a submit frame
	echoBytes   = 200 // a confirmation frame
)

// record is what the floors write.
var record = make([]byte, rounds.RecordBytes)

// serveFloor is the child process of the two HTTP floors. It prints its address and serves until its standard input is closed.
func serveFloor(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log, err := rounds.NewFloor(dir, 2)
	if err != nil {
		return err
	}
	go log.Run(ctx)
	answer := `{"filler":"` + strings.Repeat("x", answerBytes-13) + `"}`
	reply := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, answer)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /empty", reply)
	mux.HandleFunc("POST /synced", func(w http.ResponseWriter, r *http.Request) {
		if err := log.Commit(record); err != nil {
			panic(err) // the floor is gone: nothing measured after it means anything
		}
		reply(w, r)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: mux}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
