package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// subject is what records are published on, and the stream's name.
const subject = "records"

// natsStore is a NATS server in this process that listens nowhere, with one file stream that syncs before it acknowledges. Each client has
// a connection of its own, in memory.
type natsStore struct {
	server  *server.Server
	clients []*nats.Conn
	streams []jetstream.JetStream // one of each connection
}

func openNATS(ctx context.Context, dir string, clients int) (store, error) {
	srv, err := server.NewServer(&server.Options{
		DontListen: true, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir, SyncAlways: true,
	})
	if err != nil {
		return nil, err
	}
	s := &natsStore{server: srv}
	srv.Start()
	if err := s.connect(ctx, clients); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *natsStore) connect(ctx context.Context, clients int) error {
	if !s.server.ReadyForConnections(upMax) {
		return fmt.Errorf("the server is not ready after %v", upMax)
	}
	for range clients {
		c, err := nats.Connect("", nats.InProcessServer(s.server))
		if err != nil {
			return err
		}
		s.clients = append(s.clients, c)
		js, err := jetstream.New(c)
		if err != nil {
			return err
		}
		s.streams = append(s.streams, js)
	}
	_, err := s.streams[0].CreateOrUpdateStream(ctx,
		jetstream.StreamConfig{Name: subject, Subjects: []string{subject}, Storage: jetstream.FileStorage})
	return err
}

func (s *natsStore) put(ctx context.Context, client int, number uint64) error {
	_, err := s.streams[client].Publish(ctx, subject, record(number))
	return err
}

func (s *natsStore) whole(ctx context.Context) (numbers []uint64, err error) {
	stream, err := s.streams[0].Stream(ctx, subject)
	if err != nil {
		return nil, err
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil, nil
	}
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if err != nil {
			return nil, err
		}
		if n, ok := numberOf(m.Data); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

func (s *natsStore) close() error {
	for _, c := range s.clients {
		c.Close()
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return nil
}
