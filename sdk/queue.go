package sdk

import (
	"context"
	"errors"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Queue is a queue of items that filters share, over workers and over filters. An item goes to one reader.
type Queue struct {
	host  abi.Host
	token uint32
	name  string
}

// Queue makes a queue, or finds it where the same filter made it in another worker.
func (p *Plugin) Queue(name string) (Queue, error) {
	token, status := p.host.RegisterSharedQueue(name)
	if status != abi.OK {
		return Queue{}, hostError(status, "register queue", name)
	}
	return Queue{p.host, token, name}, nil
}

// FindQueue finds a queue that another filter made: vm is its vm_id, for waft the filter's name. It is [ErrNotFound] as long as that
// filter has not.
func (p *Plugin) FindQueue(vm, name string) (Queue, error) {
	token, status := p.host.ResolveSharedQueue(vm, name)
	if status != abi.OK {
		return Queue{}, hostError(status, "find queue", vm+"/"+name)
	}
	return Queue{p.host, token, name}, nil
}

// Push puts an item at the end. Nothing bounds a queue that nobody reads.
func (q Queue) Push(item []byte) error {
	return hostError(q.host.EnqueueShared(q.token, item), "push to queue", q.name)
}

// Pop takes the first item, which is the caller's; [ErrEmpty] when there is none.
func (q Queue) Pop() ([]byte, error) {
	item, status := q.host.DequeueShared(q.token)
	if status != abi.OK {
		return nil, hostError(status, "pop from queue", q.name)
	}
	return append([]byte{}, item...), nil
}

// Receive makes a queue and has f called with each item that this plugin gets of it. Where several workers receive from a
// queue, each item goes to one of them; what was in it before goes to the first. f may wait; the next item comes when it has
// returned. See [Plugin.Go] for its context and for panics, which do not end the receiving. A plugin receives from a queue
// once; again it is [ErrBadArgument].
func (p *Plugin) Receive(name string, f func(ctx context.Context, item []byte)) (Queue, error) {
	q, err := p.Queue(name)
	if err != nil {
		return Queue{}, err
	}
	if p.queues[q.token] != nil {
		return Queue{}, wrap("receive from queue "+name+": this plugin does already", ErrBadArgument)
	}
	if p.queues == nil {
		p.queues = map[uint32]func(){}
	}
	busy := false
	receive := func() {
		if busy {
			return
		}
		busy = true
		p.Go(func(ctx context.Context) {
			defer func() { busy = false }()
			p.drain(ctx, q, f)
		})
	}
	p.queues[q.token] = receive
	// The host calls for new items only.
	receive()
	return q, nil
}

// drain hands over what is in a queue.
func (p *Plugin) drain(ctx context.Context, q Queue, f func(ctx context.Context, item []byte)) {
	for ctx.Err() == nil {
		item, err := q.Pop()
		if err != nil {
			if !errors.Is(err, ErrEmpty) {
				p.Log().Error(err.Error())
			}
			return
		}
		p.guarded(ctx, func(ctx context.Context) { f(ctx, item) })
	}
}

// QueueReady is the callback proxy_on_queue_ready.
func (v *vm) QueueReady(id, queue uint32) {
	v.context = id
	if p := v.plugins[id]; p != nil {
		if receive := p.queues[queue]; receive != nil {
			receive()
		}
	}
	v.drive()
}
