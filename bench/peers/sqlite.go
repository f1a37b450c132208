package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"

	"github.com/mattn/go-sqlite3"

	"tideover/bench/rounds"
)

const sqlInsert = "insert into records (number, record) values (?, ?)"

// sqlite commits each record by itself. It has one connection, and its clients wait for that in Go: SQLite has one writer at a time,
// and clients with connections of their own would find that out by sleeping.
type sqlite struct {
	db     *sql.DB
	insert *sql.Stmt
}

func missingSQLite() string {
	db, err := sql.Open("sqlite3", ":memory:")
	if err == nil {
		defer db.Close()
		err = db.Ping()
	}
	if err != nil {
		return err.Error() // it was built without cgo
	}
	return ""
}

func versionSQLite() string {
	version, _, _ := sqlite3.Version()
	return "SQLite " + version
}

func openSQLite(ctx context.Context, dir string, _ int) (store, error) { return newSQLite(ctx, dir) }

func newSQLite(ctx context.Context, dir string) (*sqlite, error) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "peer.sqlite")+"?_journal_mode=WAL&_synchronous=FULL&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := &sqlite{db: db}
	if _, err = db.ExecContext(ctx, "create table if not exists records (number integer primary key, record blob not null)"); err == nil {
		s.insert, err = db.PrepareContext(ctx, sqlInsert)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *sqlite) put(ctx context.Context, _ int, number uint64) error {
	_, err := s.insert.ExecContext(ctx, int64(number), record(number))
	return err
}

func (s *sqlite) whole(ctx context.Context) (numbers []uint64, err error) {
	rows, err := s.db.QueryContext(ctx, "select record from records")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		if n, ok := numberOf(b); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, rows.Err()
}

func (s *sqlite) close() error { return errors.Join(s.insert.Close(), s.db.Close()) }

// groupedSQLite puts the same committer before SQLite as the floor has.
type groupedSQLite struct {
	*sqlite
	committer *rounds.Committer
	stop      context.CancelFunc
	ran       sync.WaitGroup
}

func openGroupedSQLite(ctx context.Context, dir string, _ int) (store, error) {
	s, err := newSQLite(ctx, dir)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.Background()) // until it is closed
	g := &groupedSQLite{sqlite: s, stop: stop}
	g.committer = rounds.NewCommitter(g.write)
	g.ran.Go(func() { g.committer.Run(running) })
	return g, nil
}

func (g *groupedSQLite) write(records [][]byte) error {
	tx, err := g.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	insert := tx.Stmt(g.insert)
	for _, r := range records {
		n, _ := numberOf(r)
		if _, err := insert.Exec(int64(n), r); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (g *groupedSQLite) put(_ context.Context, _ int, number uint64) error {
	return g.committer.Commit(record(number))
}

func (g *groupedSQLite) close() error {
	g.stop()
	g.ran.Wait()
	return g.sqlite.close()
}
