/* Every NIF of module py_nif: name, arity, flags. core_<name> in Go does the work; py_nif.erl
 * documents it. */
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
    NIF(context_of_call, 1, 0)                                                                     \
    NIF(dup_fd, 1, 0)                                                                              \
    NIF(close_fd, 1, 0)                                                                            \
    NIF(task_cancel, 1, 0)                                                                         \
    NIF(memory_info, 0, 0)                                                                         \
    NIF(task_interrupt, 1, 0)                                                                      \
    NIF(context_interrupt, 1, 0)                                                                   \
    NIF(context_replace, 1, 0)                                                                     \
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
    NIF(callback_names, 2, 0)                                                                      \
    NIF(event_loop_abandon, 1, 0)                                                                  \
    NIF(event_loops_abandoned, 0, 0)                                                               \
    NIF(event_loop_dispatch, 1, 0)                                                                 \
    NIF(event_loop_poll, 3, 0)                                                                     \
    NIF(event_loop_poll_end, 2, 0)                                                                 \
    NIF(add_reader, 3, 0)                                                                          \
    NIF(remove_reader, 2, 0)                                                                       \
    NIF(add_writer, 3, 0)                                                                          \
    NIF(remove_writer, 2, 0)                                                                       \
    NIF(call_later, 3, 0)                                                                          \
    NIF(cancel_timer, 2, 0)                                                                        \
    NIF(dispatch_timer, 2, 0)                                                                      \
    NIF(get_pending, 1, 0)                                                                         \
    NIF(submit_task, 7, 0)                                                                         \
    NIF(process_ready_tasks, 1, 0)                                                                 \
    NIF(channel_new, 2, 0)                                                                         \
    NIF(channel_send, 3, 0)                                                                        \
    NIF(channel_expect_room, 3, 0)                                                                 \
    NIF(channel_forget_room, 2, 0)                                                                 \
    NIF(channel_close, 1, 0)                                                                       \
    NIF(channel_info, 1, 0)                                                                        \
    NIF(process_watch, 2, 0)                                                                       \
    NIF(process_signal, 2, 0)                                                                      \
    NIF(process_release, 1, 0)                                                                     \
    NIF(create_test_udp_socket, 1, 0)                                                              \
    NIF(sendto_test_udp, 4, 0)                                                                     \
    NIF(recvfrom_test_udp, 2, 0)                                                                   \
    NIF(set_udp_broadcast, 2, 0)                                                                   \
    NIF(create_test_pipe, 0, 0)                                                                    \
    NIF(create_test_tcp_listener, 1, 0)                                                            \
    NIF(connect_test_tcp, 1, 0)                                                                    \
    NIF(accept_test_tcp, 1, 0)                                                                     \
    NIF(read_test_fd, 2, 0)                                                                        \
    NIF(write_test_fd, 2, 0)                                                                       \
    NIF(close_test_fd, 1, 0)

#endif
