package sandbox

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"tideover/daemon"
)

// runEdge is the edge's process: the daemon, as `tideover run` runs it. It returns the exit status.
func runEdge(ctx context.Context, args []string, streams Streams) int {
	flags := flag.NewFlagSet(asEdge, flag.ContinueOnError)
	flags.SetOutput(streams.Err)
	file := flags.String("config", "", "configuration `file`")
	if flags.Parse(args) != nil {
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	c, err := daemon.LoadConfig(daemon.Source{Path: *file})
	if err == nil {
		err = daemon.Run(ctx, c, slog.New(slog.NewJSONHandler(streams.Err, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}
	if err != nil {
		fmt.Fprintf(streams.Err, "the edge: %v\n", err)
		return exitFailed
	}
	return exitWell
}

// createQueue makes the journal of a freshly enrolled edge, as `tideover enroll` does.
func createQueue(file string) error {
	c, err := daemon.LoadConfig(daemon.Source{Path: file})
	if err != nil {
		return err
	}
	return daemon.CreateQueue(c)
}
