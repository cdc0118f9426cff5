#include "task.h"

#include "atoms.h"
#include "convert_packed.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A result that takes longer to copy than to send goes to the mailbox even if the submitter still
 * spins. */
#define TASK_DIRECT_WEIGHT 4096

/* Looks of a submitter at his task between two at the clock. */
#define AWAIT_LOOKS 64

#define PHASE_MASK ((UINT64_C(1) << TASK_PHASE_BITS) - 1)

static inline task_phase phase_of(uint64_t state) { return (task_phase)(state & PHASE_MASK); }

static inline uint64_t with_phase(uint64_t state, task_phase phase) {
    return (state & ~PHASE_MASK) | (uint64_t)phase;
}

static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Moves the task from `from` to `to` in the generation it is in; false when it is not in `from`. */
static bool transition(task *t, task_phase from, task_phase to) {
    /* Acquire also when it fails: the task may then be the caller's to take over. */
    uint64_t state = atomic_load_explicit(&t->state, memory_order_acquire);
    while (phase_of(state) == from) {
        if (atomic_compare_exchange_weak_explicit(&t->state, &state, with_phase(state, to),
                                                  memory_order_acq_rel, memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

task *task_new(uint64_t slot) {
    task *t = aligned_alloc(alignof(task), sizeof(*t));
    if (t == NULL) {
        return NULL;
    }
    memset(t, 0, sizeof(*t));
    t->env = enif_alloc_env();
    if (t->env == NULL) {
        free(t);
        return NULL;
    }
    t->slot = slot;
    atomic_init(&t->state, TASK_FREE);
    return t;
}

void task_trim(task *t) {
    enif_free_env(t->env);
    t->env = NULL;
}

bool task_restore(task *t) {
    t->env = enif_alloc_env();
    return t->env != NULL;
}

/* Ends the phases that a claimer looks for; false when there is a claimer and the task is now his.
 */
static bool release(task *t) {
    uint64_t state = atomic_load_explicit(&t->state, memory_order_acquire);
    for (;;) {
        task_phase next;
        switch (phase_of(state)) {
        case TASK_AWAITED:
        case TASK_QUEUED:
            next = TASK_CANCELLED;
            break;
        case TASK_CLAIMED:
            next = TASK_LEFT;
            break;
        default:
            return true;
        }
        if (atomic_compare_exchange_weak_explicit(&t->state, &state, with_phase(state, next),
                                                  memory_order_acq_rel, memory_order_acquire)) {
            return next != TASK_LEFT;
        }
    }
}

bool task_recycle(task *t) {
    if (!release(t)) {
        return false;
    }
    enif_clear_env(t->env);
    t->loop = 0;
    t->origin = 0;
    uint64_t state = atomic_load_explicit(&t->state, memory_order_relaxed);
    atomic_store_explicit(&t->state, (state & ~PHASE_MASK) + (PHASE_MASK + 1) + TASK_FREE,
                          memory_order_release);
    return true;
}

bool task_withdraw(task *t) {
    return transition(t, TASK_QUEUED, TASK_CANCELLED) ||
           transition(t, TASK_AWAITED, TASK_CANCELLED) ||
           transition(t, TASK_SILENT, TASK_CANCELLED);
}

bool task_answer_for(task *t, uint64_t loop, ERL_NIF_TERM reason) {
    uint64_t state = atomic_load_explicit(&t->state, memory_order_acquire);
    for (;;) {
        task_phase phase = phase_of(state);
        if ((phase != TASK_AWAITED && phase != TASK_QUEUED) || t->loop != loop) {
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&t->state, &state,
                                                  with_phase(state, TASK_CLAIMED),
                                                  memory_order_acq_rel, memory_order_acquire)) {
            break;
        }
    }
    ErlNifPid caller = t->caller;
    ErlNifEnv *env = enif_alloc_env();
    if (env != NULL) {
        ERL_NIF_TERM reference = enif_make_copy(env, t->reference);
        enif_send(NULL, &caller, env,
                  enif_make_tuple3(env, atoms.async_result, reference,
                                   enif_make_tuple2(env, atoms.error, reason)));
        enif_free_env(env);
    }
    return !transition(t, TASK_CLAIMED, TASK_CANCELLED);
}

/* Atoms are the same in every environment. */
static ERL_NIF_TERM copy_name(ErlNifEnv *env, ERL_NIF_TERM name, task *t) {
    return enif_is_atom(env, name) ? name : enif_make_copy(t->env, name);
}

static bool pack_arguments(ErlNifEnv *env, ERL_NIF_TERM list, task *t) {
    ERL_NIF_TERM head;
    size_t used = 0;
    unsigned count = 0;
    while (enif_get_list_cell(env, list, &head, &list)) {
        size_t size = packed_from_term(env, head, t->packed_arguments + used,
                                       sizeof(t->packed_arguments) - used);
        if (size == 0) {
            return false;
        }
        used += size;
        count++;
    }
    t->packed_count = (uint8_t)count;
    return enif_is_empty_list(env, list);
}

bool task_prepare(ErlNifEnv *env, const ERL_NIF_TERM *argv, task_phase phase, task *t) {
    unsigned kind;
    unsigned flags;
    size_t keyword_count;
    if (!enif_is_ref(env, argv[0]) || !enif_get_uint(env, argv[1], &kind) || kind > TASK_EXEC ||
        !enif_is_list(env, argv[4]) || !enif_get_map_size(env, argv[5], &keyword_count) ||
        !enif_get_uint(env, argv[6], &flags) || keyword_count > UINT32_MAX) {
        return false;
    }
    if (!(enif_is_atom(env, argv[2]) || enif_is_binary(env, argv[2])) ||
        !(enif_is_atom(env, argv[3]) || enif_is_binary(env, argv[3]))) {
        return false;
    }
    if (enif_self(env, &t->caller) == NULL) {
        return false;
    }
    t->kind = (uint8_t)kind;
    t->flags = (uint8_t)flags; /* the higher ones are Erlang's own */
    t->weight = 0;
    t->packed = pack_arguments(env, argv[4], t);
    unsigned length;
    if (!t->packed && !enif_get_list_length(env, argv[4], &length)) {
        return false;
    }
    if (t->packed) {
        t->reference = enif_make_copy(t->env, argv[0]);
    } else {
        /* One copy of both costs half of two. */
        ERL_NIF_TERM both = enif_make_copy(t->env, enif_make_list_cell(env, argv[0], argv[4]));
        enif_get_list_cell(t->env, both, &t->reference, &t->arguments);
    }
    t->module = copy_name(env, argv[2], t);
    t->function = copy_name(env, argv[3], t);
    t->keyword_count = (uint32_t)keyword_count;
    if (keyword_count > 0) {
        t->keywords = enif_make_copy(t->env, argv[5]);
    }
    uint64_t state = atomic_load_explicit(&t->state, memory_order_relaxed);
    atomic_store_explicit(&t->state, with_phase(state, phase), memory_order_release);
    return true;
}

uint64_t task_generation(const task *t) {
    return atomic_load_explicit(&t->state, memory_order_relaxed) >> TASK_PHASE_BITS;
}

uint64_t task_id(const task *t, uint64_t generation) {
    const uint64_t mask = (UINT64_C(1) << TASK_ID_GENERATION_BITS) - 1;
    return t->slot << TASK_ID_GENERATION_BITS | (generation & mask);
}

/* A time slice is about a millisecond: what a process spends here counts as work of its. */
#define SLICE_PERCENT_NS 10000

static void charge(ErlNifEnv *env, uint64_t nanoseconds) {
    uint64_t percent = nanoseconds / SLICE_PERCENT_NS;
    if (percent > 0) {
        enif_consume_timeslice(env, percent < 100 ? (int)percent : 100);
    }
}

bool task_await(ErlNifEnv *env, task *t, uint64_t generation, uint64_t nanoseconds,
                ERL_NIF_TERM *result) {
    const uint64_t awaited = generation << TASK_PHASE_BITS | TASK_AWAITED;
    const uint64_t answered = generation << TASK_PHASE_BITS | TASK_ANSWERED;
    const uint64_t began = monotonic_ns();
    uint64_t waited = 0;
    for (;;) {
        for (int i = 0; i < AWAIT_LOOKS; i++) {
            uint64_t state = atomic_load_explicit(&t->state, memory_order_acquire);
            if (state == answered) {
                charge(env, waited);
                *result = t->direct ? enif_make_tuple2(env, atoms.ok, packed_to_term(env, t->value))
                                    : enif_make_copy(env, t->result);
                return true;
            }
            if (state != awaited) {
                charge(env, waited);
                return false;
            }
            cpu_relax();
        }
        waited = monotonic_ns() - began;
        if (waited >= nanoseconds) {
            uint64_t expected = awaited;
            if (atomic_compare_exchange_strong_explicit(
                    &t->state, &expected, generation << TASK_PHASE_BITS | TASK_QUEUED,
                    memory_order_acq_rel, memory_order_acquire)) {
                charge(env, waited);
                return false;
            }
        }
    }
}

bool task_cancel(task *t, uint64_t generation) {
    uint64_t state = atomic_load_explicit(&t->state, memory_order_acquire);
    while (state >> TASK_PHASE_BITS == generation &&
           (phase_of(state) == TASK_QUEUED || phase_of(state) == TASK_AWAITED)) {
        if (atomic_compare_exchange_weak_explicit(&t->state, &state,
                                                  with_phase(state, TASK_CANCELLED),
                                                  memory_order_acq_rel, memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

uint64_t reference_key(ERL_NIF_TERM reference) {
    return enif_hash(ERL_NIF_INTERNAL_HASH, reference, 1) << 32 |
           enif_hash(ERL_NIF_INTERNAL_HASH, reference, 2);
}

/* How long a process that was found alive is taken to be. */
#define LIVING_NANOSECONDS 50000

static bool is_alive(task *t, task_living *living) {
    uint64_t now = monotonic_ns();
    if (now < living->until && enif_compare_pids(&t->caller, &living->pid) == 0) {
        return true;
    }
    if (!enif_is_process_alive(NULL, &t->caller)) {
        return false;
    }
    living->pid = t->caller;
    living->until = now + LIVING_NANOSECONDS;
    return true;
}

bool task_wanted(task *t, task_living *living) {
    switch (phase_of(atomic_load_explicit(&t->state, memory_order_acquire))) {
    case TASK_SILENT:
        return true;
    case TASK_AWAITED:
        return true;
    case TASK_QUEUED:
        return (t->flags & TASK_FLAG_OUTLIVES_CALLER) || is_alive(t, living);
    default:
        return false;
    }
}

bool task_silent(task *t) {
    return phase_of(atomic_load_explicit(&t->state, memory_order_relaxed)) == TASK_SILENT;
}

bool task_awaited(task *t) {
    return phase_of(atomic_load_explicit(&t->state, memory_order_acquire)) == TASK_AWAITED;
}

static void send_result(task *t, ERL_NIF_TERM result) {
    ERL_NIF_TERM message = enif_make_tuple3(t->env, atoms.async_result, t->reference, result);
    enif_send(NULL, &t->caller, t->env, message);
}

bool task_finish_direct(task *t) {
    t->direct = true;
    if (transition(t, TASK_AWAITED, TASK_ANSWERED)) {
        return false;
    }
    if (transition(t, TASK_QUEUED, TASK_SENT)) {
        send_result(t, task_ok(t, packed_to_term(t->env, t->value)));
    }
    return true;
}

bool task_finish(task *t, ERL_NIF_TERM result) {
    if (t->weight <= TASK_DIRECT_WEIGHT) {
        t->direct = false;
        t->result = result;
        if (transition(t, TASK_AWAITED, TASK_ANSWERED)) {
            return false;
        }
    } else {
        transition(t, TASK_AWAITED, TASK_QUEUED);
    }
    if (transition(t, TASK_QUEUED, TASK_SENT)) {
        send_result(t, result);
    }
    return true;
}

void task_prepare_resolution(task *t, void *future, int32_t status, ERL_NIF_TERM term) {
    t->kind = TASK_RESOLVE;
    t->flags = 0;
    t->weight = 0;
    t->status = status;
    t->arguments = enif_make_copy(t->env, term);
    t->module = t->function = atoms.undefined;
    t->object = future;
    uint64_t state = atomic_load_explicit(&t->state, memory_order_relaxed);
    atomic_store_explicit(&t->state, with_phase(state, TASK_SILENT), memory_order_release);
}

bool task_claim(task *t) {
    transition(t, TASK_AWAITED, TASK_QUEUED);
    return transition(t, TASK_QUEUED, TASK_SENT);
}

ERL_NIF_TERM task_ok(task *t, ERL_NIF_TERM value) {
    return enif_make_tuple2(t->env, atoms.ok, value);
}

ERL_NIF_TERM task_error(task *t, ERL_NIF_TERM reason) {
    return enif_make_tuple2(t->env, atoms.error, reason);
}
