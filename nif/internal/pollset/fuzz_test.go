package pollset

import (
	"testing"

	"golang.org/x/sys/unix"
)

// modelled is what the model knows of one descriptor number.
type modelled struct {
	pair     *pair
	interest uint32 // 0 once the number was closed, removed, or not yet added
	unread   int
	hungUp   bool
}

func (m *modelled) ready() uint32 {
	mask := Write
	if m.unread > 0 {
		mask |= Read
	}
	if m.hungUp {
		mask = Read | Write
	}
	return mask & m.interest
}

// replace closes the number without telling the set and opens another pair under it.
func (m *modelled) replace(t *testing.T) {
	number := m.pair.a
	fresh := newPair(t)
	m.pair.a = -1
	m.pair.close(&m.pair.b)
	reuse(t, &fresh.a, number)
	*m = modelled{pair: fresh}
}

// Any sequence of registrations, traffic, hang-ups and numbers that change hands agrees with a
// model; the descriptor of the whole set is readable exactly when something is ready.
func FuzzAgainstModel(f *testing.F) {
	f.Add([]byte{0, 12, 0, 16, 8, 24, 4, 28, 0, 20})
	f.Add([]byte{4, 5, 12, 13, 24, 25, 4, 5, 12, 20, 16})
	f.Add([]byte{0, 12, 28, 4, 8, 28, 24, 28, 8, 20})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 200 {
			return
		}
		s := newSet(t)
		var slots [4]modelled
		for i := range slots {
			slots[i].pair = newPair(t)
		}
		for _, op := range ops {
			m := &slots[op&3]
			fd := m.pair.a
			switch op >> 2 & 7 {
			case 0:
				must(t, s.Add(fd, Read))
				m.interest = Read
			case 1:
				must(t, s.Add(fd, Read|Write))
				m.interest = Read | Write
			case 2:
				if s.Interest(fd) == 0 {
					continue
				}
				must(t, s.Modify(fd, Write))
				m.interest = Write
			case 3:
				if m.hungUp || m.unread > 8 {
					continue
				}
				send(t, m.pair.b)
				m.unread++
			case 4:
				if m.unread > 0 {
					receive(t, fd)
					m.unread--
				}
			case 5:
				must(t, s.Remove(fd))
				m.interest = 0
			case 6:
				m.replace(t)
			case 7:
				m.pair.close(&m.pair.b)
				m.hungUp = true
			}
			want := 0
			got := wait(t, s, 0)
			for i := range slots {
				m := &slots[i]
				mask := m.ready()
				if got[m.pair.a] != mask {
					t.Fatalf("op %d: descriptor %d: %d, want %d", op, m.pair.a, got[m.pair.a], mask)
				}
				if mask != 0 {
					want++
				}
			}
			if len(got) != want || readable(t, s.Fd()) != (want > 0) {
				t.Fatalf("op %d: %v with %d ready", op, got, want)
			}
		}
		for i := range slots {
			_ = unix.Close(slots[i].pair.a)
			slots[i].pair.a = -1
			slots[i].pair.close(&slots[i].pair.b)
		}
	})
}
