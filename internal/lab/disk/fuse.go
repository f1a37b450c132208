package disk

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node shows an inode to the kernel. All changes come from there, so that it may keep what it has seen until the mount ends.
type node struct {
	fs.Inode
	disk  *Disk
	inode *inode
}

// forever is how long the kernel may believe what it was told.
const forever = time.Hour

func mount(d *Disk, dir string) (*fuse.Server, error) {
	keep := forever
	return fs.Mount(dir, &node{disk: d, inode: d.media.root}, &fs.Options{
		MountOptions: fuse.MountOptions{
			FsName: "faulty", Name: "tideover", DirectMountStrict: true, DisableXAttrs: true, ExplicitDataCacheControl: true, MaxWrite: 1 << 20,
		},
		EntryTimeout: &keep, AttrTimeout: &keep, NullPermissions: true,
		RootStableAttr: &fs.StableAttr{Ino: d.media.root.number},
	})
}

var (
	_ fs.NodeStatfser  = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeLinker    = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
)

// Statfs tells how much space there is.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	m := n.disk.media
	free := uint64(max(0, m.blocks-m.used))
	*out = fuse.StatfsOut{Blocks: uint64(m.blocks), Bfree: free, Bavail: free, Files: 1 << 20, Ffree: 1 << 19, Bsize: blockSize, Frsize: blockSize, NameLen: 255}
	return 0
}

// attributes are an inode's. Callers hold the disk's mu.
func (n *inode) attributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Blksize = n.number, n.mode, n.links, blockSize
	out.Size, out.Blocks = uint64(len(n.content)), uint64(taken(n.blocks))*(blockSize/sectorSize)
	out.SetTimes(&n.modified, &n.modified, &n.modified)
	if n.folder() {
		out.Nlink = 2
	}
}

// Getattr is stat(2).
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.inode.attributes(&out.Attr)
	return 0
}

// Setattr is truncate(2), chmod(2) and utimes(2). Modes and times are durable at once: nothing here depends on them.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if size > fileMax {
			return syscall.EFBIG
		}
		if err := n.disk.write(n.inode, edit{at: int64(size), resize: true}); err != 0 {
			return err
		}
	}
	n.disk.mu.Lock()
	if mode, ok := in.GetMode(); ok {
		n.inode.mode = n.inode.mode&syscall.S_IFMT | mode&^syscall.S_IFMT
	}
	if at, ok := in.GetMTime(); ok {
		n.inode.modified = at
	}
	n.disk.mu.Unlock()
	return n.Getattr(ctx, f, out)
}

// child shows an inode of this folder. Callers hold the disk's mu.
func (n *node) child(ctx context.Context, i *inode, out *fuse.EntryOut) *fs.Inode {
	i.attributes(&out.Attr)
	return n.NewInode(ctx, &node{disk: n.disk, inode: i}, fs.StableAttr{Mode: i.mode & syscall.S_IFMT, Ino: i.number})
}

// Lookup finds a name.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	i := n.inode.names[name]
	if i == nil {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, i, out), 0
}

// Readdir lists the names.
func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	list := make([]fuse.DirEntry, 0, len(n.inode.names))
	for name, i := range n.inode.names {
		list = append(list, fuse.DirEntry{Name: name, Mode: i.mode & syscall.S_IFMT, Ino: i.number})
	}
	return fs.NewListDirStream(list), 0
}

// make creates a name for something new.
func (n *node) make(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	var made *inode
	err := n.disk.change(Move, 0, func() (err syscall.Errno) {
		made, err = n.disk.media.create(n.inode, name, mode)
		return err
	}, nil)
	if err != 0 {
		return nil, err
	}
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	return n.child(ctx, made, out), 0
}

// Create makes a file and opens it.
func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, err := n.make(ctx, name, mode&^syscall.S_IFMT|syscall.S_IFREG, out)
	return child, nil, fuse.FOPEN_KEEP_CACHE, err
}

// Mkdir makes a folder.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, mode&^syscall.S_IFMT|syscall.S_IFDIR, out)
}

// Link gives a file one more name.
func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	i := target.(*node).inode
	err := n.disk.change(Move, 0, func() syscall.Errno {
		if n.inode.names[name] != nil {
			return syscall.EEXIST
		}
		n.disk.media.move(step{n.inode, name, i})
		return 0
	}, nil)
	if err != 0 {
		return nil, err
	}
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	return n.child(ctx, i, out), 0
}

// Unlink removes a file's name.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.disk.change(Move, 0, func() syscall.Errno { return n.disk.media.remove(n.inode, name, false) }, nil)
}

// Rmdir removes an empty folder.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.disk.change(Move, 0, func() syscall.Errno { return n.disk.media.remove(n.inode, name, true) }, nil)
}

// Rename is renameat2(2) without an exchange.
func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	return n.disk.change(Move, 0, func() syscall.Errno {
		return n.disk.media.rename(n.inode, name, to.(*node).inode, newName, flags)
	}, nil)
}

// Open opens a file. What the kernel has of it stays good.
func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read reads from a file, also from a frozen disk: what was read changes nothing.
func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	content := n.inode.content
	if off >= int64(len(content)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, content[off:])]), 0
}

// Write writes to a file.
func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if off > fileMax {
		return 0, syscall.EFBIG
	}
	if err := n.disk.write(n.inode, edit{at: off, data: append([]byte(nil), data...)}); err != 0 {
		return 0, err
	}
	return uint32(len(data)), 0
}

// Fsync is fsync(2) and fdatasync(2), of a file or a folder.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return n.disk.sync(n.inode)
}
