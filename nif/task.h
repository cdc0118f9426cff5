/*
 * A task: one request from Erlang (call, eval, exec) on its way to a Python thread and its result
 * on the way back.
 *
 * Life of a task. The pool (task_pool.h) owns the memory: a task is taken from it by the submitting
 * NIF, filled there by task_prepare(), queued, and given back to the pool by exactly one party,
 * decided by one atomic transition of `state`:
 *
 *   FREE -> AWAITED    submitter: it will spin for a while before it goes to its mailbox
 *   FREE -> QUEUED     submitter: the answer goes to its mailbox
 *   FREE -> SILENT     submitter: nobody waits (cast, spawn_task)
 *   AWAITED -> QUEUED  submitter gave up spinning
 *   AWAITED -> ANSWERED  runner; the submitter copies the result out of env and gives the task back
 *   QUEUED -> SENT     runner; sends the message and gives the task back
 *   AWAITED|QUEUED -> CANCELLED  canceller; nothing will be sent, the runner gives the task back
 *   AWAITED|QUEUED -> CLAIMED    claimer, who answers in place of a runner that may never come back
 *   CLAIMED -> CANCELLED  claimer has read the task; the runner gives it back
 *   CLAIMED -> LEFT       runner is done with it first; the claimer gives it back
 *
 * `env` is owned by the task for all its life and cleared by task_recycle(); between submission and
 * the end it is touched by the runner's thread only, and after ANSWERED by the submitter only.
 */
#ifndef ERLANG_PYTHON_TASK_H
#define ERLANG_PYTHON_TASK_H

#include <erl_nif.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Of a cache line, in bytes, and of what is packed into the lines of a task. */
#define TASK_LINE 64
#define TASK_VALUE_SIZE 39
#define TASK_ARGUMENTS_SIZE 84

typedef enum task_phase {
    TASK_FREE,
    TASK_AWAITED,
    TASK_QUEUED,
    TASK_SILENT,
    TASK_ANSWERED,
    TASK_SENT,
    TASK_CANCELLED,
    TASK_CLAIMED,
    TASK_LEFT,
} task_phase;

typedef enum task_kind {
    TASK_CALL,    /* module, function, arguments, keywords */
    TASK_EVAL,    /* function: source of an expression, keywords: names that it may use */
    TASK_EXEC,    /* function: source of statements, run in __main__ */
    TASK_RESOLVE, /* object: a future that awaits the answer in status and arguments */
} task_kind;

enum {
    TASK_FLAG_TRACEBACK = 1 << 0,        /* errors carry the traceback */
    TASK_FLAG_ARRAYS_AS_BINARY = 1 << 1, /* see convert.h */
    TASK_FLAG_OUTLIVES_CALLER = 1 << 2,  /* run also when the caller is gone */
};

enum {
    TASK_PHASE_BITS = 8,         /* the generation is above them in a task's state */
    TASK_ID_GENERATION_BITS = 30 /* the slot is above them in its id in Erlang, a small integer */
};

/*
 * Bounds a submitter's spin for his answer, in nanoseconds, so that a BEAM scheduler is not held.
 * To sleep and be woken costs a scheduler more.
 */
#define TASK_AWAIT_LIMIT 40000

/*
 * The parts that different threads write are on cache lines of their own: a submitter that spins
 * looks at the first one all the time.
 */
typedef struct task {
    /* generation << TASK_PHASE_BITS | phase; a canceller that holds an older generation finds
     * nothing to cancel. */
    alignas(TASK_LINE) _Atomic uint64_t state;
    ERL_NIF_TERM result;
    uint64_t weight;                      /* about the number of bytes of result */
    bool direct;                          /* value stands for {ok, Value}, result is not set */
    unsigned char value[TASK_VALUE_SIZE]; /* convert_packed.h */

    /* What the submitter asks for; all terms live in env. */
    alignas(TASK_LINE) struct task *next; /* in a queue, or in the pool */
    ERL_NIF_TERM module;
    ERL_NIF_TERM function;
    ErlNifPid caller;
    uint8_t kind; /* a task_kind */
    uint8_t flags;
    bool packed;          /* the arguments are in `packed_arguments` */
    uint8_t packed_count; /* their number */
    uint32_t keyword_count;
    int32_t status; /* of TASK_RESOLVE, an answer_status */
    /* convert_packed.h, one after the other. */
    unsigned char packed_arguments[TASK_ARGUMENTS_SIZE];

    alignas(TASK_LINE) ErlNifEnv *env;
    ERL_NIF_TERM reference; /* the caller's */
    ERL_NIF_TERM arguments; /* unless packed */
    ERL_NIF_TERM keywords;  /* only when keyword_count > 0 */
    uint64_t loop;          /* handle of the event loop it was submitted to, else 0 */
    /* A strong reference to a Python object or NULL: a ScheduleMarker to go on with, or the future
     * of TASK_RESOLVE. */
    void *object;
    /* Id of the call of Python whose callback submitted it, else 0. */
    uint64_t origin;
    uint64_t slot; /* where the pool finds it */
} task;

/* Allocates an empty task in phase FREE, or returns NULL. */
task *task_new(uint64_t slot);

/* Frees the environment of a task in phase FREE, and makes a new one (false without memory). */
void task_trim(task *t);
bool task_restore(task *t);

/* Clears env and begins the next generation in phase FREE; false when the task is the claimer's to
 * give back. */
bool task_recycle(task *t);

/*
 * Fills the task with copies of the caller's terms and moves it from FREE to phase.
 * argv: Reference, Kind (0..2), Module, Function, Arguments (proper list), Keywords (map), Flags.
 * Returns false, with the task still FREE, when one of them is of the wrong type.
 */
bool task_prepare(ErlNifEnv *env, const ERL_NIF_TERM *argv, task_phase phase, task *t);

/* Tasks come from another processor's cache: asks for a batch of them at once, and for the terms of
 * the next one. */
static inline void task_prefetch(task *const *tasks, int count) {
    for (int i = 0; i < count; i++) {
        __builtin_prefetch(&tasks[i]->module);
        __builtin_prefetch(&tasks[i]->env);
        __builtin_prefetch(&tasks[i]->state, 1);
    }
}

static inline void task_prefetch_terms(const task *t) {
    __builtin_prefetch(t->env, 1);
    __builtin_prefetch((const char *)t->env + 64, 1);
}

/* generation of the task, to be given to task_cancel(). */
uint64_t task_generation(const task *t);

/* What Erlang knows a task of that generation by. */
uint64_t task_id(const task *t, uint64_t generation);

/*
 * The submitter's bounded wait on a task that it put into AWAITED; generation is task_generation()
 * from before the task was queued, since from then on the runner may finish and recycle it. True
 * when the answer came in time: *result is then a copy of it in env and the task is the
 * submitter's, to be given back. False: the answer goes to the mailbox.
 */
bool task_await(ErlNifEnv *env, task *t, uint64_t generation, uint64_t nanoseconds,
                ERL_NIF_TERM *result);

/* True when this call cancelled the task of that generation: nothing will be sent for it. */
bool task_cancel(task *t, uint64_t generation);

/* The submitter's, when the task could not be queued: false when somebody claimed and so answered
 * it meanwhile. */
bool task_withdraw(task *t);

/*
 * Answers {error, reason} in place of the runner when somebody still waits for a task of that loop.
 * True when the task is then to be recycled by the caller, a thread of ours.
 */
bool task_answer_for(task *t, uint64_t loop, ERL_NIF_TERM reason);

/* What a reference is known by where its term cannot be kept: 64 bits of hash, two halves of 32. */
uint64_t reference_key(ERL_NIF_TERM reference);

/* The process that was last found alive, which is believed until a moment later: asking again costs
 * as much as sending. All zero: none. */
typedef struct task_living {
    ErlNifPid pid;
    uint64_t until; /* monotonic nanoseconds */
} task_living;

/* True while somebody wants the answer (or nobody ever did: SILENT). */
bool task_wanted(task *t, task_living *living);

/* True when nobody ever waited for the result. */
bool task_silent(task *t);

/*
 * The runner's end of a task: delivers `result` (a term in t->env). True when the task is to be
 * recycled by the runner, false when the submitter took it over.
 */
bool task_finish(task *t, ERL_NIF_TERM result);

/* True while the submitter spins, so that the answer does not have to travel. */
bool task_awaited(task *t);

/* task_finish() with {ok, Value} for the value that was packed into `value`. */
bool task_finish_direct(task *t);

/* Makes a FREE task the resolution of a future, whose reference it takes, by a term of which it
 * keeps a copy. */
void task_prepare_resolution(task *t, void *future, int32_t status, ERL_NIF_TERM term);

/*
 * The end of a task whose answer somebody else delivers: true when it is to be sent to t->caller as
 * {async_result, t->reference, Result}. The task is then finished, in either case, and to be
 * recycled.
 */
bool task_claim(task *t);

/* {ok, Value} and {error, Reason} in the task's env. */
ERL_NIF_TERM task_ok(task *t, ERL_NIF_TERM value);
ERL_NIF_TERM task_error(task *t, ERL_NIF_TERM reason);

#endif
