// Package sdkslog writes records of log/slog to the log of a filter's host, for libraries that want a slog.Logger.
//
//	log := sdkslog.New(p.Log())
//	log.Warn("key is old", "kid", kid)
//
// It is a package of its own because linking log/slog makes every module 200 KB larger. It imports sdk and the standard
// library only.
package sdkslog
