package main

/*
#include "atoms.h"
#include "convert.h"
#include "python_runtime.h"
#include "sandbox.h"
#include <erl_nif.h>
#include <stdlib.h>
*/
import "C"

import (
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// pythonRuntime is Python in this process: started once and never finalised, since threads of libraries may come back
// at any time. The application may be stopped and started again around it; what belongs to one run of the application
// is in session.
type pythonRuntime struct {
	mu      sync.Mutex
	phase   runtimePhase
	reason  string // why it failed
	main    *pythonThread
	jobs    []func()
	session atomic.Pointer[session]

	executable string
	logger     atomic.Pointer[C.ErlNifPid]
	starter    atomic.Pointer[C.ErlNifPid] // of workers for loops
}

type runtimePhase int

const (
	runtimeDown runtimePhase = iota
	runtimeStarting
	runtimeUp
	runtimeFailed
)

// session is one run of the application: its configuration and what was started for it.
type session struct {
	config   configuration
	contexts *contextPool
}

// configuration is the part of the application environment that the core needs; py_config.erl checks it.
type configuration struct {
	executable  string
	packagePath string
	paths       []string
	stackSize   int64
	contexts    int
	queueLimit  int
	// of each event loop
	taskQueueLimit     int
	lingerMicroseconds int64
	maxNewAtoms        int
	sandboxDenied      uint  // bits of sandbox.h
	memoryLimit        int64 // bytes, 0 for none
	maxTermBytes       int64
	loopLimit          int
	noneAtom           C.ERL_NIF_TERM // what None becomes
}

var python pythonRuntime

func readConfiguration(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (config configuration, ok bool) {
	text := func(key string) string {
		value, found := mapValue(env, term, key)
		result, good := getString(env, value)
		ok = ok && found && good
		return result
	}
	number := func(key string) int64 {
		value, found := mapValue(env, term, key)
		result, good := getInteger(env, value)
		ok = ok && found && good
		return result
	}
	ok = true
	config.executable = text("executable")
	config.packagePath = text("package_path")
	config.stackSize = number("stack_size")
	config.contexts = int(number("contexts"))
	config.queueLimit = int(number("queue_limit"))
	config.taskQueueLimit = int(number("task_queue_limit"))
	config.lingerMicroseconds = number("linger_us")
	config.maxNewAtoms = int(number("max_new_atoms"))
	config.sandboxDenied = uint(number("sandbox"))
	config.memoryLimit = number("memory_limit")
	config.maxTermBytes = number("max_term_bytes")
	config.loopLimit = int(number("loop_limit"))
	noneAtom, isThere := mapValue(env, term, "none_atom")
	config.noneAtom = noneAtom
	ok = ok && isThere && C.enif_is_atom(env, noneAtom) != 0
	if config.executable == "" {
		config.executable = C.ERLANG_PYTHON_EXECUTABLE
	}
	paths, found := mapValue(env, term, "paths")
	if ok && found {
		config.paths, ok = getStrings(env, paths)
	}
	return config, ok && found
}

// core_runtime_start begins a session. The answer comes as {python_started, ok | {error, Reason}} to the caller, since
// starting Python the first time takes tens of milliseconds.
//
//export core_runtime_start
func core_runtime_start(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	config, ok := readConfiguration(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	var caller C.ErlNifPid
	C.enif_self(env, &caller)
	python.mu.Lock()
	defer python.mu.Unlock()
	answer := func(reason string) { sendStarted(caller, reason) }
	if python.phase == runtimeDown {
		python.phase = runtimeStarting
		python.executable = config.executable
		main, err := startThread(config.stackSize, func(t *pythonThread) { python.runMain(t, config) })
		if err != nil {
			python.phase = runtimeDown
			return makeError(env, makeBinary(env, err.Error()))
		}
		python.main = main
	}
	python.jobs = append(python.jobs, func() { answer(python.beginSession(config)) })
	python.main.waker.Wake()
	return C.atoms.ok
}

// sendStarted must be called on a thread of ours.
func sendStarted(to C.ErlNifPid, reason string) {
	env := C.enif_alloc_env()
	defer C.enif_free_env(env)
	status := C.atoms.ok
	if reason != "" {
		status = makeError(env, makeBinary(env, reason))
	}
	C.enif_send(nil, &to, env, makeTuple2(env, makeAtom(env, "python_started"), status))
}

// runMain is the life of Python's main thread: it starts Python and then runs the jobs that must not run elsewhere:
// what takes the GIL or sends messages on behalf of a resource destructor, monitor or NIF.
func (p *pythonRuntime) runMain(t *pythonThread, config configuration) {
	reason := startPython(config)
	p.mu.Lock()
	if reason == "" {
		p.phase = runtimeUp
	} else {
		p.phase, p.reason = runtimeFailed, reason
	}
	p.mu.Unlock()
	if reason == "" {
		// PyGILState_Ensure finds the thread state of the initialisation.
		if err := t.attach(); err != nil {
			logEvent(err.Error())
		}
	}
	for {
		for _, job := range p.takeJobs() {
			runJob(job)
		}
		t.waker.Prepare()
		p.mu.Lock()
		idle := len(p.jobs) == 0
		p.mu.Unlock()
		if idle {
			_, _ = t.waker.Sleep(-1)
		}
		t.waker.Clear()
	}
}

func runJob(job func()) {
	defer guardCallback("a job")
	job()
}

func (p *pythonRuntime) takeJobs() []func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	jobs := p.jobs
	p.jobs = nil
	return jobs
}

// onMain has the main thread run a job, soon. Safe on any thread, with or without the GIL.
func (p *pythonRuntime) onMain(job func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.main == nil {
		return
	}
	p.jobs = append(p.jobs, job)
	p.main.waker.Wake()
}

func startPython(config configuration) string {
	// A first timer has the Go runtime open its poll set, so that it is among the descriptors that Python must not close.
	time.AfterFunc(time.Hour, func() {}).Stop()
	C.sandbox_set_policy(C.uint(config.sandboxDenied))
	executable := C.CString(config.executable)
	defer C.free(unsafe.Pointer(executable))
	packagePath := C.CString(config.packagePath)
	defer C.free(unsafe.Pointer(packagePath))
	text := C.python_runtime_start(executable, packagePath, C.size_t(config.stackSize))
	if text == nil {
		return ""
	}
	defer C.free(unsafe.Pointer(text))
	return C.GoString(text)
}

// setPaths runs on the main thread.
func (p *pythonRuntime) setPaths(folders []string) string {
	paths := make([]*C.char, len(folders)+1)
	for i, folder := range folders {
		paths[i] = C.CString(folder)
		defer C.free(unsafe.Pointer(paths[i]))
	}
	list := (**C.char)(C.calloc(C.size_t(len(paths)), C.size_t(unsafe.Sizeof(paths[0]))))
	defer C.free(unsafe.Pointer(list))
	copy(unsafe.Slice(list, len(paths)), paths)
	text := C.python_runtime_set_paths(p.main.state, list, C.size_t(len(folders)))
	if text == nil {
		return ""
	}
	defer C.free(unsafe.Pointer(text))
	return C.GoString(text)
}

// beginSession runs on the main thread.
func (p *pythonRuntime) beginSession(config configuration) string {
	p.mu.Lock()
	phase, reason := p.phase, p.reason
	p.mu.Unlock()
	if phase != runtimeUp {
		return reason
	}
	if config.executable != p.executable {
		return "Python runs as " + p.executable + " already; another executable needs another VM"
	}
	C.sandbox_set_policy(C.uint(config.sandboxDenied))
	setMemoryLimit(config.memoryLimit)
	C.convert_set_size_limit(C.size_t(config.maxTermBytes))
	C.convert_set_none(config.noneAtom)
	loopLimit.Store(int64(config.loopLimit))
	if reason := p.setPaths(config.paths); reason != "" {
		return reason
	}
	C.convert_set_atom_limit(C.ulong(config.maxNewAtoms))
	loopQueueLimit.Store(int64(config.taskQueueLimit))
	loopLinger.Store(config.lingerMicroseconds * 1000)
	// The owner of the last session may have been killed before it ended it.
	if previous := p.session.Swap(&session{config: config, contexts: newContextPool(config)}); previous != nil {
		previous.close()
	}
	// Of those that Erlang made before, some may have tasks by now.
	loops.Range(func(_ uint64, l *eventLoop) bool {
		l.told.Store(false)
		l.tellTasks(nil)
		return true
	})
	return ""
}

// core_runtime_stop ends the session: everything that waits is answered {error, closed}, threads end when the Python
// code that they run returns.
//
//export core_runtime_stop
func core_runtime_stop(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	ended := python.session.Swap(nil)
	pprof.StopCPUProfile()
	if ended != nil {
		python.onMain(ended.close)
	}
	return C.atoms.ok
}

// close ends a session, on the main thread. Loops are told to stop by their owners; one whose thread does not come
// back, because the Python code that it runs does not, gets a SystemExit raised there (loop_abandon.go).
func (s *session) close() {
	endCallbacks()
	s.contexts.close()
	loops.Range(func(_ uint64, l *eventLoop) bool {
		l.interruptLater(interruptRounds)
		return true
	})
}

// stopGrace is how long Python code may take to come back by itself.
const stopGrace = time.Second

//export core_runtime_info
func core_runtime_info(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	current := python.session.Load()
	if current == nil {
		return makeError(env, makeAtom(env, "not_started"))
	}
	return makeOk(env, makeMap(env, map[string]C.ERL_NIF_TERM{
		"threads":  makeInteger(env, int64(threads.Len())),
		"waiters":  makeInteger(env, int64(waiters.Len())), // Python threads that have called Erlang
		"calls":    makeInteger(env, int64(calls.Len())),   // that Erlang has not answered
		"contexts": current.contexts.describe(env),
		// that Python runs as
		"executable": makeBinary(env, current.config.executable),
		// threads of contexts and loops that were replaced and did not come back yet
		"abandoned": makeInteger(env, abandonedContexts.Load()+abandonedLoops.Load()),
	}))
}
