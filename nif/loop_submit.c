/* The NIFs that submit tasks to an event loop. Go is entered only for a loop that has no thread yet
 * (loop_door.h says why). */
#include "loop_submit.h"

#include "_cgo_export.h"
#include "atoms.h"
#include "loop_door.h"
#include "resource.h"
#include "task_pool.h"

/* What became of a submission. */
typedef struct submission {
    task *task; /* NULL when it was refused */
    uint64_t generation;
    task_phase phase;
    ERL_NIF_TERM problem; /* to answer then */
} submission;

static bool is_set(const uint32_t *flag) { return __atomic_load_n(flag, __ATOMIC_SEQ_CST) != 0; }

/* Whether an answer is likely within TASK_AWAIT_LIMIT. */
static bool is_promising(loop_door *door) {
    return is_set(&door->awake) && is_set(&door->quick) && task_queue_length(&door->queue) <= 1;
}

static submission refused(task *t, ERL_NIF_TERM problem) {
    if (t != NULL) {
        task_pool_put(t);
    }
    return (submission){.problem = problem};
}

static ERL_NIF_TERM error_term(ErlNifEnv *env, ERL_NIF_TERM reason) {
    return enif_make_tuple2(env, atoms.error, reason);
}

/* argv: Loop, and from there on as for task_prepare(). */
static submission submit(ErlNifEnv *env, const ERL_NIF_TERM *argv, task_phase phase) {
    void *object;
    if (!enif_get_resource(env, argv[0], resource_types[RESOURCE_LOOP], &object)) {
        return refused(NULL, enif_make_badarg(env));
    }
    loop_door *door = ((resource *)object)->door;
    if (is_set(&door->destroyed)) {
        return refused(NULL, error_term(env, atoms.closed));
    }
    task *t = task_pool_get();
    if (t == NULL) {
        return refused(NULL, error_term(env, atoms.enomem));
    }
    if (phase == TASK_AWAITED && !is_promising(door)) {
        phase = TASK_QUEUED;
    }
    /* Before the phase: who answers in place of the loop looks at it. */
    t->loop = door->handle;
    if (!task_prepare(env, argv + 1, phase, t)) {
        return refused(t, enif_make_badarg(env));
    }
    uint64_t generation = task_generation(t);
    push_result pushed = task_queue_push(&door->queue, t);
    if (pushed == PUSH_DONE) {
        if (is_set(&door->undriven)) {
            core_loop_start_thread(door->handle);
        }
        wake_signal(&door->wake);
    } else if (task_withdraw(t)) {
        return refused(t, error_term(env, pushed == PUSH_FULL ? atoms.busy : atoms.closed));
    } else {
        /* Who ended the loop meanwhile has answered it. */
        task_pool_put(t);
        phase = TASK_QUEUED;
    }
    return (submission){.task = t, .generation = generation, .phase = phase};
}

/*
 * event_loop_run(Loop, Reference, Kind, Module, Function, Arguments, Keywords, Flags) answers the
 * result when it comes within TASK_AWAIT_LIMIT, and else the task's id: {async_result, Reference,
 * Result} will follow.
 */
ERL_NIF_TERM core_event_loop_run(ErlNifEnv *env, int argc, const ERL_NIF_TERM *argv) {
    submission s = submit(env, argv, TASK_AWAITED);
    if (s.task == NULL) {
        return s.problem;
    }
    ERL_NIF_TERM answer;
    if (s.phase == TASK_AWAITED &&
        task_await(env, s.task, s.generation, TASK_AWAIT_LIMIT, &answer)) {
        task_pool_put(s.task);
        return answer;
    }
    return enif_make_uint64(env, task_id(s.task, s.generation));
}

/* event_loop_create_task takes what event_loop_run takes and answers ok; the result always comes as
 * a message. */
ERL_NIF_TERM core_event_loop_create_task(ErlNifEnv *env, int argc, const ERL_NIF_TERM *argv) {
    submission s = submit(env, argv, TASK_QUEUED);
    return s.task == NULL ? s.problem : atoms.ok;
}

/* event_loop_spawn_task takes what event_loop_run takes and answers ok; nobody hears of the result.
 */
ERL_NIF_TERM core_event_loop_spawn_task(ErlNifEnv *env, int argc, const ERL_NIF_TERM *argv) {
    submission s = submit(env, argv, TASK_SILENT);
    return s.task == NULL ? s.problem : atoms.ok;
}
