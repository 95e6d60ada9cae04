package filtertest

import "context"

// wire is a connection through a filter in one of the backends, with its two ends.
type wire interface {
	// do does a step that is no StepWait. What cannot be done, because nothing is connected to the upstream or all is over, is left out.
	do(ctx context.Context, s Step) error
	// pass lets the time of a StepWait pass.
	pass(ctx context.Context, s Step) error
	// settle returns when Envoy has dealt with the step before (the zero Step: the filter has let the connection in, or refused it), or will not.
	settle(ctx context.Context, s Step) error
	// hears returns when the upstream has heard that the client ended, or when it will not.
	hears(ctx context.Context) error
	// finish returns when the connection is over, or will not be.
	finish(ctx context.Context) error
	// over says whether Envoy has closed both sides.
	over(ctx context.Context) (bool, error)
	// observe tells what the ends got.
	observe() ObservedConnection
	// close breaks off what is left.
	close(ctx context.Context) error
}

// play has the steps of a scenario happen. Where they leave the connection open, the client ends its side, and the upstream
// does when it has heard of that.
func play(ctx context.Context, w wire, steps []Step) (ObservedConnection, error) {
	p := player{wire: w}
	err := p.play(ctx, steps)
	seen := w.observe()
	seen.ClosedBy = p.by
	if cerr := w.close(ctx); err == nil {
		err = cerr
	}
	return seen, err
}

// player is a play under way.
type player struct {
	wire
	last  Step // that was done
	by    Party
	ended map[Party]bool
}

func (p *player) play(ctx context.Context, steps []Step) error {
	p.ended = map[Party]bool{}
	for _, s := range steps {
		if over, err := p.step(ctx, s); over || err != nil {
			return err
		}
	}
	for _, by := range []Party{PartyClient, PartyUpstream} {
		if p.ended[by] {
			continue
		}
		if by == PartyUpstream {
			if err := p.hears(ctx); err != nil {
				return err
			}
		}
		if over, err := p.step(ctx, Step{Kind: StepEnd, By: by}); over || err != nil {
			return err
		}
	}
	return p.end(ctx)
}

// end waits for what comes of the last step, and for the connection to be over.
func (p *player) end(ctx context.Context) error {
	over, err := p.dealt(ctx)
	if over || err != nil {
		return err
	}
	return p.finish(ctx)
}

// step does the next step, and says whether the connection was over before it.
func (p *player) step(ctx context.Context, s Step) (over bool, err error) {
	if s.Kind == StepWait {
		p.last = s
		return false, p.pass(ctx, s)
	}
	if over, err = p.dealt(ctx); over || err != nil {
		return over, err
	}
	if s.Kind != StepSend {
		p.ended[s.By] = true
		if p.by == "" {
			p.by = s.By
		}
	}
	if s.Kind == StepReset {
		p.ended[PartyClient], p.ended[PartyUpstream] = true, true
	}
	p.last = s
	return false, p.do(ctx, s)
}

// dealt waits for what comes of the last step, and says whether the connection is over.
func (p *player) dealt(ctx context.Context) (over bool, err error) {
	if p.last.Kind != StepWait {
		if err := p.settle(ctx, p.last); err != nil {
			return false, err
		}
	}
	over, err = p.over(ctx)
	if over && p.by == "" {
		p.by = PartyFilter
	}
	return over, err
}
