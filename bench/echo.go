package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

// echoProtocol is the ALPN of the floor's own QUIC.
const echoProtocol = "tideover-bench"

// serveEcho is the child process of the QUIC floor. It prints its address and serves until its standard input is closed.
func serveEcho() error {
	cert, err := throwawayCertificate()
	if err != nil {
		return err
	}
	listener, err := quic.ListenAddr("127.0.0.1:0",
		&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{echoProtocol}}, &quic.Config{MaxIncomingStreams: 1000})
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		listener.Close()
	}()
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return nil
		}
		go func() {
			for {
				stream, err := conn.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go func() {
					io.Copy(io.Discard, stream)
					stream.Write(make([]byte, echoBytes))
					stream.Close()
				}()
			}
		}()
	}
}

// throwawayCertificate makes a certificate that nobody checks.
func throwawayCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// dialEcho connects to the echo.
func dialEcho(ctx context.Context, addr string) (*quic.Conn, error) {
	// The floor is a clock, not a channel: whom it speaks with does not matter.
	return quic.DialAddr(ctx, addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{echoProtocol}}, nil)
}

// echo makes one round trip on a stream of its own.
func echo(ctx context.Context, conn *quic.Conn) error {
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err := stream.Write(make([]byte, frameBytes)); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, stream)
	if err == nil && n != echoBytes {
		err = fmt.Errorf("the echo answered %d bytes", n)
	}
	return err
}
