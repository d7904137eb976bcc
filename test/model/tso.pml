/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Memory as x86-64 has it. Stores wait in a FIFO buffer of their thread. A load is served from the youngest store in
 * there to the same word, else from memory. A read-modify-write and a fence wait until the buffer is empty. Loads are
 * not reordered, so acquire, release and addresses that were loaded add nothing.
 *
 * The model has defined WORDS, THREADS and DEPTH, how many stores a buffer holds.
 */
typedef buffer {
	byte count;
	byte at[DEPTH];
	byte content[DEPTH];
}

byte memory[WORDS];
buffer pending[THREADS];
bool absent[THREADS];
hidden byte t_, w_, v_;

#define stored(t) (pending[t].count == 0)
#define present(t) (!absent[t])
#define room(t)	  (pending[t].count < DEPTH)

c_code {
	static void load(void)
	{
		v_ = now.memory[w_];
		for (int i = 0; i < now.pending[t_].count; i++)
			v_ = now.pending[t_].at[i] == w_ ? now.pending[t_].content[i] : v_;
	}

	static void store(void)
	{
		struct buffer *b = &now.pending[t_];

		b->at[b->count] = w_;
		b->content[b->count++] = v_;
	}

	static void drain(void)
	{
		struct buffer *b = &now.pending[t_];

		now.memory[b->at[0]] = b->content[0];
		b->count--;
		for (int i = 0; i < DEPTH; i++) {
			b->at[i] = i < b->count ? b->at[i + 1] : 0;
			b->content[i] = i < b->count ? b->content[i + 1] : 0;
		}
	}
};

active [THREADS] proctype Buffer()
{
end:
	do
	:: d_step {
		pending[_pid].count > 0 ->
		t_ = _pid;
		c_code { drain(); }
	}
	od
}

inline set(w, v) { memory[w] = v }
/* A thread that ends or is switched off; and when it is switched on again. */
inline leave(t) { absent[t] = true }
inline come(t) { d_step { stored(t) -> absent[t] = false } }

inline load_relaxed(t, w, r)
{
	d_step {
		present(t) ->
		t_ = t;
		w_ = w;
		c_code { load(); }
		r = v_
	}
}

inline load_plain(t, w, r) { load_relaxed(t, w, r) }
inline load_acquire(t, w, r) { load_relaxed(t, w, r) }
inline load_address(t, w, r) { load_relaxed(t, w, r) }
inline load_at(t, w, r) { load_relaxed(t, w, r) }

/* Two halves of one word. */
inline load_acquire_halves(t, w1, w2, r1, r2)
{
	d_step {
		stored(t) ->
		r1 = memory[w1];
		r2 = memory[w2]
	}
}

inline store_relaxed(t, w, v)
{
	d_step {
		present(t) && room(t) ->
		t_ = t;
		w_ = w;
		v_ = v;
		c_code { store(); }
	}
}

inline store_plain(t, w, v) { store_relaxed(t, w, v) }
inline store_release(t, w, v) { store_relaxed(t, w, v) }

inline cas_acq_rel(t, w, expected, desired, done)
{
	d_step {
		present(t) && stored(t) ->
		done = memory[w] == expected;
		if
		:: done -> memory[w] = desired
		:: else -> expected = memory[w]
		fi
	}
}

inline cas_release(t, w, expected, desired, done) { cas_acq_rel(t, w, expected, desired, done) }
inline cas_acquire(t, w, expected, desired, done) { cas_acq_rel(t, w, expected, desired, done) }
inline cas_relaxed(t, w, expected, desired, done) { cas_acq_rel(t, w, expected, desired, done) }

inline exchange_acq_rel(t, w, v, r)
{
	d_step {
		present(t) && stored(t) ->
		r = memory[w];
		memory[w] = v
	}
}

inline exchange_release(t, w, v, r) { exchange_acq_rel(t, w, v, r) }
inline exchange_relaxed(t, w, v, r) { exchange_acq_rel(t, w, v, r) }
inline fetch_add_relaxed(t, w, v, r) { exchange_acq_rel(t, w, r + v, r) }
inline fence_seq_cst(t) { present(t) && stored(t) }
/* What membarrier does to another thread. */
inline fence_other(t) { stored(t) }
