package install

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"tideover/internal/die"
)

const (
	// QueueKeysMax is how many keys queue.key holds; where it has as many, one has to be destroyed before another is made.
	QueueKeysMax = 32
	// destroyedMax is how many destroyed keys are remembered by their names; the oldest is forgotten for one too many, and what it sealed is
	// told from there on like what a strange key has sealed.
	destroyedMax = 512
	// queueKeysVersion is the layout of a queue.key that has held more than one key. One that never has is the 32 bytes of its key.
	queueKeysVersion = 2
	// queueKeysFileMax bounds what is read of the file, in bytes.
	queueKeysFileMax = 128 << 10
	// fileQueueKeyNew is what queue.key is called while it is written.
	fileQueueKeyNew = ".queue.key.new"
)

// ErrTooManyKeys says that queue.key holds [QueueKeysMax] keys.
var ErrTooManyKeys = errors.New("there are too many keys")

// QueueKeys are what queue.key holds.
type QueueKeys struct {
	All       [][secretSize]byte // the newest first; never empty
	Destroyed [][secretSize]byte // the names of keys that were destroyed, as whoever destroyed them calls them; the newest last
}

// queueKeysFile is what a queue.key says that has held more than one key.
type queueKeysFile struct {
	Version   int      `json:"version"`
	Keys      []string `json:"keys"`      // hexadecimal, the newest first
	Destroyed []string `json:"destroyed"` // hexadecimal, the newest last
}

// ReadQueueKeys reads the keys of a state directory. Errors are [Error] where a person can act.
func ReadQueueKeys(dir string) (QueueKeys, error) { return stateDir(dir).queueKeys() }

// QueueKeyPath is where the keys lie in a state directory.
func QueueKeyPath(dir string) string { return stateDir(dir).path(fileQueueKey) }

func (d stateDir) queueKeys() (k QueueKeys, err error) {
	b, err := d.read(fileQueueKey)
	if err != nil {
		return k, err
	}
	if len(b) == secretSize {
		return QueueKeys{All: [][secretSize]byte{[secretSize]byte(b)}}, nil
	}
	var f queueKeysFile
	if len(b) > queueKeysFileMax || !bytes.HasPrefix(b, []byte("{")) {
		return k, d.damaged(fileQueueKey, text("has %d bytes; it should be the %d of a key, or a list of keys", "有 %d 字节；应为 %d 字节的密钥或密钥列表",
			len(b), secretSize), nil)
	}
	list := json.NewDecoder(bytes.NewReader(b))
	list.DisallowUnknownFields()
	if err := list.Decode(&f); f.Version > queueKeysVersion {
		return k, &Error{
			What: text("%s has layout %d; this program knows %d", "%s 的版本为 %d，本程序只支持 %d", d.path(fileQueueKey), f.Version, queueKeysVersion),
			Hint: text("run the newer tideover that wrote it", "请使用写入它的较新版本 tideover"), Err: ErrDamaged,
		}
	} else if _, more := list.Token(); err != nil || more != io.EOF {
		return k, d.damaged(fileQueueKey, text("is not a list of keys", "不是密钥列表"), errors.Join(err, ErrDamaged))
	}
	if err := k.fill(f); err != nil {
		return k, d.damaged(fileQueueKey, text("holds a key that cannot be read", "含有无法读取的密钥"), err)
	}
	return k, nil
}

// fill takes what a file says.
func (k *QueueKeys) fill(f queueKeysFile) error {
	for list, from := range map[*[][secretSize]byte][]string{&k.All: f.Keys, &k.Destroyed: f.Destroyed} {
		for _, s := range from {
			var b [secretSize]byte
			if err := unhex(b[:], s); err != nil {
				return err
			}
			*list = append(*list, b)
		}
	}
	if len(k.All) == 0 || len(k.All) > QueueKeysMax || len(k.Destroyed) > destroyedMax || f.Version != queueKeysVersion {
		return errors.New("it has no key, or too many")
	}
	return nil
}

func (k QueueKeys) encode() ([]byte, error) {
	f := queueKeysFile{Version: queueKeysVersion, Keys: []string{}, Destroyed: []string{}}
	for _, key := range k.All {
		f.Keys = append(f.Keys, hex.EncodeToString(key[:]))
	}
	for _, name := range k.Destroyed[max(0, len(k.Destroyed)-destroyedMax):] {
		f.Destroyed = append(f.Destroyed, hex.EncodeToString(name[:]))
	}
	b, err := json.MarshalIndent(f, "", "  ")
	return append(b, '\n'), err
}

// AddQueueKey makes a new key, puts it in front of those that are there, and returns them all; it is synced then. Errors are those of
// [ReadQueueKeys], and [ErrTooManyKeys].
func AddQueueKey(dir string) (QueueKeys, error) {
	return changeQueueKeys(dir, func(k *QueueKeys) error {
		if len(k.All) >= QueueKeysMax {
			return &Error{
				What: text("%s holds %d keys already", "%s 中已有 %d 个密钥", stateDir(dir).path(fileQueueKey), QueueKeysMax), Err: ErrTooManyKeys,
				Hint: text("see what still needs the old ones: tideover key list", "请查看哪些内容仍需要旧密钥：tideover key list"),
			}
		}
		var key [secretSize]byte
		_, _ = rand.Read(key[:]) // never fails
		k.All = append([][secretSize]byte{key}, k.All...)
		return nil
	})
}

// DestroyQueueKeys takes keys out of queue.key, which has them no more when it returns, and remembers each by the name that it maps to.
// The newest one stays, whatever is asked. Where there is none of them nothing is written, but for this: what an earlier process may have left
// half done is removed. What the disk itself keeps of the old file is overwritten as far as the file system does that
// in place. Errors are those of [ReadQueueKeys].
func DestroyQueueKeys(dir string, names map[[secretSize]byte][secretSize]byte) error {
	_, err := changeQueueKeys(dir, func(k *QueueKeys) error {
		left := k.All[:1:1]
		for _, key := range k.All[1:] {
			name, gone := names[key]
			switch {
			case !gone:
				left = append(left, key)
			case !slices.Contains(k.Destroyed, name):
				k.Destroyed = append(k.Destroyed, name)
			}
		}
		k.All = left
		return nil
	})
	return err
}

// changeQueueKeys changes the key file: at every instant a whole one has the name.
func changeQueueKeys(dir string, change func(*QueueKeys) error) (QueueKeys, error) {
	d := stateDir(dir)
	lock, err := d.lock()
	if err != nil {
		return QueueKeys{}, err
	}
	defer lock.Close()
	k, err := d.queueKeys()
	if err != nil {
		return k, err
	}
	// What a process has left that died here holds keys, too.
	if err := os.Remove(d.path(fileQueueKeyNew)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	before := len(k.All)
	if err := change(&k); err != nil || len(k.All) == before {
		return k, err
	}
	b, err := k.encode()
	if err != nil {
		return k, err
	}
	if err := d.replace(fileQueueKey, fileQueueKeyNew, b); err != nil {
		return k, fmt.Errorf("write %s: %w", d.path(fileQueueKey), err)
	}
	return k, nil
}

// replace puts a secret in the place of one that is there, whole or not at all, synced, for the same owner; and then overwrites the old
// one, which no name leads to any more. Meanwhile it has the name temp, which nothing else may have.
func (d stateDir) replace(name, temp string, data []byte) error {
	old, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	info, err := old.Stat()
	if err != nil {
		return err
	}
	tmp, err := os.OpenFile(d.path(temp), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the file has its name
	_, err = tmp.Write(data)
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		err = errors.Join(err, tmp.Chown(int(owner.Uid), int(owner.Gid))) // a daemon that is not root must read it
	}
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	die.At("queue.key.write.before")
	if err := os.Rename(tmp.Name(), d.path(name)); err != nil {
		return err
	}
	die.At("queue.key.write.renamed")
	if err := d.sync(); err != nil {
		return err
	}
	die.At("queue.key.write.after")
	_, err = old.WriteAt(make([]byte, info.Size()), 0)
	return errors.Join(err, old.Sync())
}
