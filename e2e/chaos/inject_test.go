package chaos

import (
	"testing"
	"time"
)

// A fault that waits for the process which the fault before has ended begins when it is there.
func TestAFaultBeginsWithItsProcess(t *testing.T) {
	u := startUnit(t.TempDir(), "idle", "sleep", "60")
	defer u.stop()
	u.wait(t.Context())
	u.down()
	const away = 300 * time.Millisecond
	time.AfterFunc(away, u.up)
	asked := time.Now()
	done := Injected{At: asked}
	if err := new(injector).process(t.Context(), Fault{Kind: Freeze, For: time.Millisecond}, u, "", &done); err != nil {
		t.Fatal(err)
	}
	if waited := done.At.Sub(asked); waited < away {
		t.Errorf("a fault of a process that is back after %v is said to begin after %v", away, waited)
	}
}
