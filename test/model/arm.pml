/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Memory as arm64 has it, which is multi-copy atomic: a store becomes visible to all other threads at once. After
 * "Promising-ARM/RISC-V" (Pulte and others, PLDI 2019), but with a store buffer instead of promises.
 *
 *   Memory  is the list of the stores that have left their buffers. A place in the list is a time.
 *   Stores  leave in any order, but those to one word in the order of the program, and a release after all before it.
 *   Loads   are served from any time that is not before: what the thread has read or written of the word (coherence),
 *           its last acquire or fence (view), and, where the address was loaded too, the time of that load (told).
 *   RMWs    replace the last store to a word. With release they wait until the buffer is empty; acquire moves the view
 *           to the time of their load, so later loads may be served from before their store, as with LDAXR and STLXR.
 *
 * What is missing: a store that overtakes an earlier load on which it does not depend, or the store of an earlier RMW.
 *
 * Stores older than every view are folded into `first`, so that states which nobody can tell apart are one.
 *
 * The model has defined WORDS, THREADS, DEPTH (of a buffer) and LOG (of the list).
 */
#define NEVER 255

typedef buffer {
	byte count;
	byte at[DEPTH];
	byte content[DEPTH];
	byte ordered[DEPTH];
}

byte first[WORDS];
byte log_at[LOG], log_content[LOG], stores;
byte view[THREADS], told[THREADS], coherence[THREADS * WORDS];
buffer pending[THREADS];
/* Of the step that is being made: what it may choose among, and what it has chosen; and arguments of the C below. */
byte older, chosen;
hidden byte t_, w_, v_, low_, order_, done_;

#define stored(t) (pending[t].count == 0)
#define present(t) (view[t] != NEVER)
#define room(t)	  (pending[t].count < DEPTH)
#define RELEASES 1
#define ACQUIRES 2
#define TELLS    4
#define TOLD     8



c_code {
	#define COHERENT(t, w) now.coherence[(t) * WORDS + (w)]

	static unsigned char later(unsigned char a, unsigned char b)
	{
		return a > b ? a : b;
	}

	static void lower(unsigned char *time, unsigned char by)
	{
		if (*time != NEVER)
			*time = *time > by ? *time - by : 0;
	}

	static void fold(void)
	{
		unsigned char all = now.stores;

		for (int t = 0; t < THREADS; t++)
			all = now.view[t] < all ? now.view[t] : all;
		for (int i = 0; i < all; i++)
			now.first[now.log_at[i]] = now.log_content[i];
		now.stores -= all;
		for (int i = 0; all && i < LOG; i++) {
			now.log_at[i] = i < now.stores ? now.log_at[i + all] : 0;
			now.log_content[i] = i < now.stores ? now.log_content[i + all] : 0;
		}
		for (int t = 0; t < THREADS; t++) {
			lower(&now.view[t], all);
			lower(&now.told[t], all);
			now.told[t] = now.told[t] > now.view[t] ? now.told[t] : 0;
			for (int w = 0; w < WORDS; w++) {
				lower(&COHERENT(t, w), all);
				COHERENT(t, w) = COHERENT(t, w) > now.view[t] ? COHERENT(t, w) : 0;
			}
		}
	}

	/* The last store to w_ at or before `time`; 0: none that is in the list. */
	static unsigned char last(unsigned char time)
	{
		while (time && now.log_at[time - 1] != w_)
			time--;
		return time;
	}

	static unsigned char content(unsigned char time)
	{
		return last(time) ? now.log_content[last(time) - 1] : now.first[w_];
	}

	static void find_low(void)
	{
		low_ = later(now.view[t_], COHERENT(t_, w_));
		if (order_ & TOLD)
			low_ = later(low_, now.told[t_]);
	}

	/* How many stores back a load of w_ may be served from. */
	static void ask(void)
	{
		find_low();
		for (unsigned char at = last(now.stores); at > low_; at = last(at - 1))
			now.older++;
	}

	static void served(unsigned char time)
	{
		COHERENT(t_, w_) = later(COHERENT(t_, w_), time);
		if (order_ & ACQUIRES)
			now.view[t_] = later(now.view[t_], time);
		if (order_ & TELLS)
			now.told[t_] = time;
	}

	/* So many stores back as was chosen, but its own ones that wait come first. */
	static void load(void)
	{
		unsigned char at = last(now.stores);

		for (find_low(); now.chosen; now.chosen--)
			at = last(at - 1);
		now.older = 0;
		at = later(at, low_);
		v_ = content(at);
		for (int i = 0; i < now.pending[t_].count; i++) {
			if (now.pending[t_].at[i] == w_) {
				v_ = now.pending[t_].content[i];
				at = low_;
			}
		}
		served(at);
	}

	/* Two words at one time, so many stores back as was chosen. */
	static unsigned char half(void)
	{
		low_ = now.stores - now.chosen;
		served(low_);
		return content(low_);
	}

	static void append(void)
	{
		now.log_at[now.stores] = w_;
		now.log_content[now.stores] = v_;
		COHERENT(t_, w_) = ++now.stores;
	}

	static void store(void)
	{
		struct buffer *b = &now.pending[t_];

		b->at[b->count] = w_;
		b->content[b->count] = v_;
		b->ordered[b->count++] = order_ & RELEASES;
	}

	/* The chosen store leaves if it may, else the first. */
	static void drain(void)
	{
		struct buffer *b = &now.pending[t_];
		int leaves = now.chosen;

		for (int i = 0; i < leaves; i++) {
			if (b->ordered[leaves] || b->at[i] == b->at[leaves])
				leaves = 0;
		}
		now.chosen = 0;
		w_ = b->at[leaves];
		v_ = b->content[leaves];
		append();
		b->count--;
		for (int i = leaves; i < DEPTH; i++) {
			b->at[i] = i < b->count ? b->at[i + 1] : 0;
			b->content[i] = i < b->count ? b->content[i + 1] : 0;
			b->ordered[i] = i < b->count ? b->ordered[i + 1] : 0;
		}
		fold();
	}

	static void exchange(void)
	{
		unsigned char new = v_;

		served(last(now.stores));
		v_ = new;
		append();
		fold();
	}

	/* The load of a CAS; done_: it is the last value and the expected one, which is in v_. */
	static void compare(void)
	{
		unsigned char expected = v_;

		load();
		if (v_ == expected) {
			v_ = content(now.stores);
			served(last(now.stores));
		}
		done_ = v_ == expected;
	}
};

#define not_pending(t, w) (!holds(t, 0, w) && !holds(t, 1, w) && !holds(t, 2, w) && !holds(t, 3, w))
#define holds(t, i, w) (pending[t].count > (i) && pending[t].at[(i) % DEPTH] == (w))

active [THREADS] proctype Buffer()
{
end:
	do
	:: atomic {
		pending[_pid].count > 0 ->
		do
		:: chosen + 1 < pending[_pid].count -> chosen++
		:: break
		od;
		skip;
		d_step {
			assert(stores < LOG);
			t_ = _pid;
			c_code { drain(); }
		}
	}
	od
}

inline set(w, v) { first[w] = v }

/* A thread that ends or is switched off; and when it is switched on again. */
inline leave(t)
{
	d_step {
		view[t] = NEVER;
		c_code { fold(); }
	}
}

inline come(t)
{
	d_step {
		stored(t) ->
		view[t] = stores;
		c_code { fold(); }
	}
}

inline place(t, w, order)
{
	t_ = t;
	w_ = w;
	order_ = order
}

inline choose(t, w, order)
{
	d_step {
		present(t) ->
		place(t, w, order);
		c_code { ask(); }
	}
	do
	:: chosen < older -> chosen++
	:: break
	od;
	skip
}

inline load(t, w, r, order)
{
	atomic {
		choose(t, w, order);
		d_step {
			place(t, w, order);
			c_code { load(); fold(); }
			r = v_
		}
	}
}

inline load_plain(t, w, r) { load(t, w, r, 0) }
inline load_relaxed(t, w, r) { load(t, w, r, 0) }
inline load_acquire(t, w, r) { load(t, w, r, ACQUIRES) }
/* Relaxed; what it reads is where the next load_at reads. */
inline load_address(t, w, r) { load(t, w, r, TELLS) }
/* Relaxed, at an address that was loaded; and it may tell the next. */
inline load_at(t, w, r) { load(t, w, r, TOLD | TELLS) }

/* Two halves of one word, of which the thread stores neither. */
inline load_acquire_halves(t, w1, w2, r1, r2)
{
	atomic {
		present(t) && stored(t);
		do
		:: stores - chosen > view[t] && stores - chosen > coherence[t * WORDS + w1] &&
		   stores - chosen > coherence[t * WORDS + w2] -> chosen++
		:: break
		od;
		d_step {
			place(t, w1, 0);
			c_code { v_ = half(); }
			r1 = v_;
			place(t, w2, ACQUIRES);
			c_code { v_ = half(); now.chosen = 0; fold(); }
			r2 = v_
		}
	}
}

inline store(t, w, v, order)
{
	d_step {
		present(t) && room(t) ->
		place(t, w, order);
		v_ = v;
		c_code { store(); }
	}
}

inline store_plain(t, w, v) { store(t, w, v, 0) }
inline store_relaxed(t, w, v) { store(t, w, v, 0) }
inline store_release(t, w, v) { store(t, w, v, RELEASES) }

/* One that fails is a load and may be served from before. */
inline cas(t, w, expected, desired, done, order)
{
	choose(t, w, order);
	d_step {
		place(t, w, order);
		v_ = expected;
		c_code { compare(); }
		done = done_;
		if
		:: done ->
			assert(stores < LOG);
			v_ = desired;
			c_code { append(); }
		:: else -> expected = v_
		fi;
		c_code { fold(); }
	}
}

inline cas_acq_rel(t, w, expected, desired, done)
{
	atomic { present(t) && stored(t) -> cas(t, w, expected, desired, done, ACQUIRES) }
}

inline cas_release(t, w, expected, desired, done)
{
	atomic { present(t) && stored(t) -> cas(t, w, expected, desired, done, 0) }
}

inline cas_acquire(t, w, expected, desired, done)
{
	atomic { present(t) && not_pending(t, w) -> cas(t, w, expected, desired, done, ACQUIRES) }
}

inline cas_relaxed(t, w, expected, desired, done)
{
	atomic { present(t) && not_pending(t, w) -> cas(t, w, expected, desired, done, 0) }
}

/* `new` may be made of r, which is what was there. */
inline exchange(t, w, new, r, order)
{
	assert(stores < LOG);
	place(t, w, order);
	c_code { v_ = content(now.stores); }
	r = v_;
	v_ = new;
	c_code { exchange(); }
}

inline exchange_acq_rel(t, w, v, r)
{
	d_step { present(t) && stored(t) -> exchange(t, w, v, r, ACQUIRES) }
}

inline exchange_release(t, w, v, r)
{
	d_step { present(t) && stored(t) -> exchange(t, w, v, r, 0) }
}

inline exchange_relaxed(t, w, v, r)
{
	d_step { present(t) && not_pending(t, w) -> exchange(t, w, v, r, 0) }
}

inline fetch_add_relaxed(t, w, v, r)
{
	d_step { present(t) && not_pending(t, w) -> exchange(t, w, r + v, r, 0) }
}

inline fence_seq_cst(t)
{
	d_step {
		present(t) && stored(t) ->
		view[t] = stores;
		c_code { fold(); }
	}
}

/* What membarrier does to another thread. */
inline fence_other(t)
{
	d_step {
		stored(t) ->
		view[t] = (present(t) -> stores : NEVER);
		c_code { fold(); }
	}
}
