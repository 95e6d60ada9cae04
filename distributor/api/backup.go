package api

import (
	"bufio"
	"context"

	"google.golang.org/grpc"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// backupPart is how large a part of a backup is, in bytes.
const backupPart = 64 << 10

type backups struct {
	waftv1.UnimplementedBackupServiceServer
	*Server
}

// Backup sends a backup. It waits for the client with each part, so that none is kept in memory.
func (s backups) Backup(_ *waftv1.BackupRequest, stream grpc.ServerStreamingServer[waftv1.BackupResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	w := bufio.NewWriterSize(parts{stream}, backupPart)
	err := s.backup(ctx, w)
	if err == nil {
		err = w.Flush()
	}
	if err != nil && s.stop.Err() != nil {
		return errStopping()
	}
	return err
}

// parts is a stream of a backup as a writer.
type parts struct {
	stream grpc.ServerStreamingServer[waftv1.BackupResponse]
}

// Write implements io.Writer.
func (p parts) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); sent += backupPart {
		if err := p.stream.Send(&waftv1.BackupResponse{Data: b[sent:min(len(b), sent+backupPart)]}); err != nil {
			return sent, err
		}
	}
	return len(b), nil
}
