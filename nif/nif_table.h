/* Every NIF of module py_nif: name, arity, flags. core_<name> in Go does the work; py_nif.erl documents it. */
#ifndef ERLANG_PYTHON_NIF_TABLE_H
#define ERLANG_PYTHON_NIF_TABLE_H

#define NIF_TABLE(NIF)                                                                             \
    NIF(runtime_start, 1, 0)                                                                       \
    NIF(runtime_stop, 0, 0)                                                                        \
    NIF(runtime_info, 0, 0)                                                                        \
    NIF(log_receiver, 1, 0)                                                                        \
    NIF(context_lookup, 0, 0)                                                                      \
    NIF(context_acquire, 1, 0)                                                                     \
    NIF(context_call, 8, 0)                                                                        \
    NIF(context_cast, 8, 0)                                                                        \
    NIF(context_info, 1, 0)                                                                        \
    NIF(task_cancel, 1, 0)                                                                         \
    NIF(event_loop_new, 0, 0)                                                                      \
    NIF(event_loop_destroy, 1, 0)                                                                  \
    NIF(event_loop_start, 1, 0)                                                                    \
    NIF(event_loop_run, 8, 0)                                                                      \
    NIF(event_loop_create_task, 8, 0)                                                              \
    NIF(event_loop_spawn_task, 8, 0)                                                               \
    NIF(event_loop_cancel, 2, 0)                                                                   \
    NIF(event_loop_info, 1, 0)                                                                     \
    NIF(worker_starter, 1, 0)                                                                      \
    NIF(event_loop_set_worker, 2, 0)                                                               \
    NIF(event_loop_arm, 1, 0)                                                                      \
    NIF(event_loop_ready, 1, 0)                                                                    \
    NIF(event_loop_timeout, 2, 0)                                                                  \
    NIF(event_loop_wakeup, 1, 0)                                                                   \
    NIF(event_loop_default, 1, 0)                                                                  \
    NIF(callback_server, 1, 0)                                                                     \
    NIF(callback_reply, 3, 0)                                                                      \
    NIF(callback_names, 2, 0)

#endif
