package sdk

import "context"

// OnShutdown has f called when the host drops the configuration, for work that must still be done: a last report, say. f may
// wait; the plugin is kept until it has returned. The work of [Plugin.Go] is cancelled after that. Streams of the
// configuration have ended before.
//
//go:noinline
func (p *Plugin) OnShutdown(f func(ctx context.Context)) { p.finish = append(p.finish, f) }

// Done is the callback proxy_on_done: a context is about to end. A plugin that has work to do yet says so, and says when it
// is done; everything else may end.
func (v *vm) Done(id uint32) bool {
	v.context = id
	p := v.plugins[id]
	if p == nil {
		return true
	}
	late := false
	p.finishing += len(p.finish)
	for _, f := range p.finish {
		p.Go(func(ctx context.Context) {
			defer func() {
				if p.finishing--; p.finishing == 0 && late {
					v.enter(id)
					if err := hostError(v.host.Done(), "end the plugin", p.name); err != nil {
						p.Log().Error(err.Error())
					}
				}
			}()
			f(ctx)
		})
	}
	p.finish = nil
	v.drive()
	late = true
	return p.finishing == 0
}
