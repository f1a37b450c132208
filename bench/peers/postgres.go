package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// How long a server may take to be up, and to be gone.
const (
	upMax   = 30 * time.Second
	goneMax = 30 * time.Second
)

// postgres is a cluster of its own in a folder, reached through a socket there and through no port. It has the settings that initdb gives it:
// fsync and synchronous_commit are on.
type postgres struct {
	server *exec.Cmd
	over   chan error // what became of the server
	pool   *pgxpool.Pool
}

// postgresProgram finds one of PostgreSQL's: Debian keeps them apart by version, others in the path. "" is that it is not there.
func postgresProgram(name string) string {
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(versions) > 0 {
		return slices.MaxFunc(versions, func(a, b string) int { return majorOf(a) - majorOf(b) })
	}
	path, _ := exec.LookPath(name)
	return path
}

// majorOf is the version in /usr/lib/postgresql/VERSION/bin/NAME.
func majorOf(path string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return major
}

func missingPostgres() string {
	if postgresProgram("initdb") == "" || postgresProgram("postgres") == "" {
		return "the package is not here (as root: apt-get install postgresql)"
	}
	return ""
}

func versionPostgres() string {
	out, err := exec.Command(postgresProgram("postgres"), "--version").Output()
	if err != nil {
		return err.Error()
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(string(out), "postgres (PostgreSQL) "), " ")
	return "PostgreSQL " + strings.TrimSpace(version)
}

func openPostgres(ctx context.Context, dir string, clients int) (store, error) {
	data := filepath.Join(dir, "data")
	who, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(data); errors.Is(err, os.ErrNotExist) {
		initdb := exec.CommandContext(ctx, postgresProgram("initdb"), "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C")
		initdb.SysProcAttr, initdb.Dir = who, dir
		if out, err := initdb.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("initdb: %w\n%s", err, out)
		}
	}
	s := &postgres{over: make(chan error, 1)}
	s.server = exec.Command(postgresProgram("postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "max_connections=100")
	s.server.SysProcAttr, s.server.Dir = who, dir
	logs, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	s.server.Stdout, s.server.Stderr = logs, logs
	if err := s.server.Start(); err != nil {
		return nil, err
	}
	go func() { s.over <- s.server.Wait() }()
	if err := s.connect(ctx, dir, clients); err != nil {
		said, _ := os.ReadFile(logs.Name())
		return nil, errors.Join(fmt.Errorf("the server does not come up: %w\n%s", err, said), s.close())
	}
	return s, nil
}

// unprivileged says as whom a server of this folder runs, and hands the folder over to him: PostgreSQL refuses to run as root. An
// ordinary user runs it himself.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	own := &syscall.SysProcAttr{Setpgid: true} // an interrupt from the keyboard is ours to pass on
	if os.Geteuid() != 0 {
		return own, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	own.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return own, os.Chown(dir, uid, gid)
}

func (s *postgres) connect(ctx context.Context, socket string, clients int) error {
	config, err := pgxpool.ParseConfig(fmt.Sprintf("host=%s user=bench dbname=postgres", socket))
	if err != nil {
		return err
	}
	config.MaxConns = int32(clients)
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	for deadline := time.Now().Add(upMax); ; {
		_, err = s.pool.Exec(ctx, "create table if not exists records (number bigint primary key, record bytea not null)")
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case err := <-s.over:
			s.over <- err
			return fmt.Errorf("it has ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *postgres) put(ctx context.Context, _ int, number uint64) error {
	_, err := s.pool.Exec(ctx, "insert into records (number, record) values ($1, $2)", int64(number), record(number))
	return err
}

func (s *postgres) whole(ctx context.Context) (numbers []uint64, err error) {
	rows, err := s.pool.Query(ctx, "select record from records")
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	for _, b := range all {
		if n, ok := numberOf(b); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, err
}

// close ends the server as its manual says for "fast": it takes no more, and writes what it has.
func (s *postgres) close() error {
	if s.pool != nil {
		s.pool.Close()
	}
	s.server.Process.Signal(syscall.SIGINT)
	late := time.AfterFunc(goneMax, func() { s.server.Process.Kill() })
	defer late.Stop()
	if err := <-s.over; err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}
