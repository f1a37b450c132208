package sandbox

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"tideover"
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
	reload := hangups(ctx)
	c, err := daemon.LoadConfig(daemon.Source{Path: *file})
	if err == nil {
		options := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: tideover.MaskAttr}
		err = daemon.Run(ctx, c, reload, slog.New(slog.NewJSONHandler(streams.Err, options)))
	}
	if err != nil {
		fmt.Fprintf(streams.Err, "the edge: %v\n", err)
		return exitFailed
	}
	return exitWell
}

// hangups has a value for SIGHUP, until ctx ends; one that waits stands for those that come meanwhile.
func hangups(ctx context.Context) <-chan struct{} {
	signals, reload := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-signals:
				select {
				case reload <- struct{}{}:
				default:
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return reload
}

// createQueue makes the journal of a freshly enrolled edge, as `tideover enroll` does.
func createQueue(file string) error {
	c, err := daemon.LoadConfig(daemon.Source{Path: file})
	if err != nil {
		return err
	}
	return daemon.CreateQueue(c)
}
