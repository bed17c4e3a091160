/* A double of the CUDA driver, for tests on machines without a GPU.
 *
 * It is no GPU. Memory of the "GPU" is memory of the host, work is done at once on the thread that
 * puts it on a stream, and there are no kernels. What it is for: it holds the callers to the
 * driver's rules (a context is current and it is the right one, objects live, copies stay inside
 * their memory, nothing that is forbidden happens during a capture), answers a breach with the
 * driver's error code and counts it, and counts what is alive. So it proves which calls are made
 * and in what order, not that they are fast, nor that they overlap, nor what a GPU computes.
 *
 * Functions double_... are for the tests. What PyCUDA needs besides and no test uses is added when
 * it is built (see support/tensorrt.py) and returns CUDA_ERROR_NOT_SUPPORTED.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NO_DEVICE = 100,
       INVALID_CONTEXT = 201, INVALID_HANDLE = 400, LAUNCH_FAILED = 719,
       CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };
enum { DEVICES = 2, DEPTH = 64, MAX_ALLOCATIONS = 4096, MAX_OPS = 256 };
enum { ON_DEVICE, ON_HOST, MAPPED };

typedef int Result;
typedef struct { int device, retained; } Context;
typedef struct { char *at; size_t size; int kind; Context *context; } Allocation;
typedef void (*Callback)(void *);
typedef struct { void *to; const void *from; size_t size; Callback call; void *argument; } Op;
typedef struct { int count; Op ops[MAX_OPS]; } Graph;
typedef struct Stream {
  struct Stream *next; Context *context; Graph *capture; int invalid; pthread_t thread;
} Stream;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Context contexts[DEVICES] = {{0, 0}, {1, 0}};
static Allocation allocations[MAX_ALLOCATIONS];
static Stream *streams;
static int live_allocations, live_streams, live_graphs, misuses, pushes, launches;
static int errors; /* that are still to be told */
static long fail_in = -1;
static _Thread_local Context *stack[DEPTH];
static _Thread_local int depth;
static const size_t TOTAL = (size_t)8 << 30;
static size_t used;

#define LOCKED(expression) \
  do { pthread_mutex_lock(&lock); Result r_ = (expression); pthread_mutex_unlock(&lock); return r_; } while (0)

static Result misuse(Result code) { misuses++; return code; }
static Context *current(void) {
  Context *top = depth ? stack[depth - 1] : NULL;
  return top && top->retained ? top : NULL;
}
/* Forbidden while this thread captures (thread-local mode); such a call spoils the capture. */
static int captures(void) {
  int found = 0;
  for (Stream *s = streams; s; s = s->next)
    if (s->capture && pthread_equal(s->thread, pthread_self())) found = s->invalid = 1;
  return found;
}

int double_live_allocations(void) { return live_allocations; }
int double_live_streams(void) { return live_streams; }
int double_live_graphs(void) { return live_graphs; }
int double_live_contexts(void) { return contexts[0].retained + contexts[1].retained; }
int double_misuses(void) { return misuses; }
int double_pushes(void) { return pushes; }
int double_launches(void) { return launches; }
int double_stack_depth(void) { return depth; }
/* Let the nth allocation from now fail (1 = the next one) and all after it; 0 = none. Not that one
 * alone: PyCUDA collects garbage and tries again. */
void double_fail_allocation(int n) { fail_in = n ? n : -1; }

/* Let work and waiting for it fail so many times from now; -1 = for ever, as after a fault. */
void double_break(int times) { errors = times; }
static Result broken(void) {
  if (!errors) return OK;
  if (errors > 0) errors--;
  return LAUNCH_FAILED;
}

Result cuInit(unsigned flags) { return getenv("DOUBLE_INIT") ? atoi(getenv("DOUBLE_INIT")) : OK; }
Result cuDriverGetVersion(int *version) { *version = 13000; return OK; }
Result cuGetErrorString(Result code, const char **text) {
  *text = code == OUT_OF_MEMORY ? "out of memory" : code == INVALID_CONTEXT ? "invalid device context"
        : code == NO_DEVICE ? "no CUDA-capable device is detected" : "an error of the double";
  return OK;
}
Result cuDeviceGetCount(int *count) { *count = DEVICES; return OK; }
Result cuDeviceGet(int *device, int index) {
  if (index < 0 || index >= DEVICES) return INVALID_DEVICE;
  *device = index;
  return OK;
}
Result cuDeviceGetName(char *name, int size, int device) { strncpy(name, "CUDA double", size); return OK; }
Result cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 8; *minor = 7; return OK; }
Result cuDeviceTotalMem_v2(size_t *size, int device) { *size = TOTAL; return OK; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 18; return OK; }

Result cuDevicePrimaryCtxRetain(Context **context, int device) {
  pthread_mutex_lock(&lock);
  contexts[device].retained++;
  *context = &contexts[device];
  pthread_mutex_unlock(&lock);
  return OK;
}
static Result release(Context *c) {
  if (!c->retained) return misuse(INVALID_CONTEXT);
  c->retained--;
  /* The real one frees what is left silently; here it would hide a leak, so it stays counted. */
  return OK;
}
Result cuDevicePrimaryCtxRelease_v2(int device) { LOCKED(release(&contexts[device])); }
static Result push(Context *c) {
  if (!c || !c->retained || depth == DEPTH) return misuse(INVALID_CONTEXT);
  pushes++;
  stack[depth++] = c;
  return OK;
}
Result cuCtxPushCurrent_v2(Context *c) { LOCKED(push(c)); }
Result cuCtxPopCurrent_v2(Context **c) {
  if (!depth) LOCKED(misuse(INVALID_CONTEXT));
  *c = stack[--depth];
  return OK;
}
Result cuCtxGetDevice(int *device) {
  if (!current()) LOCKED(misuse(INVALID_CONTEXT));
  *device = current()->device;
  return OK;
}
Result cuMemGetInfo_v2(size_t *free_, size_t *total) {
  if (!current()) LOCKED(misuse(INVALID_CONTEXT));
  *total = TOTAL;
  *free_ = TOTAL - used;
  return OK;
}

static Result allocate(void **at, size_t size, int kind) {
  if (!current()) return misuse(INVALID_CONTEXT);
  if (!size) return INVALID_VALUE;
  if (captures()) return misuse(CAPTURE_UNSUPPORTED);
  if (fail_in > 0) fail_in--;
  if (fail_in == 0) return OUT_OF_MEMORY;
  for (int i = 0; i < MAX_ALLOCATIONS; i++)
    if (!allocations[i].at) {
      allocations[i] = (Allocation){malloc(size), size, kind, current()};
      memset(allocations[i].at, 0xa5, size); /* what was never written shows */
      *at = allocations[i].at;
      live_allocations++;
      used += size;
      return OK;
    }
  return OUT_OF_MEMORY;
}
static Result give_back(void *at, int on_device) {
  if (!current()) return misuse(INVALID_CONTEXT);
  if (captures()) return misuse(CAPTURE_UNSUPPORTED);
  for (int i = 0; i < MAX_ALLOCATIONS; i++)
    if (at && allocations[i].at == at && (allocations[i].kind == ON_DEVICE) == on_device) {
      if (allocations[i].context != current()) return misuse(INVALID_CONTEXT);
      memset(at, 0x5a, allocations[i].size); /* and so does what is used too late */
      free(at);
      used -= allocations[i].size;
      allocations[i].at = NULL;
      live_allocations--;
      return OK;
    }
  return misuse(INVALID_VALUE);
}
static Allocation *holder(const void *at, size_t size) {
  for (int i = 0; i < MAX_ALLOCATIONS; i++) {
    Allocation *a = &allocations[i];
    if (a->at && (char *)at >= a->at && (char *)at + size <= a->at + a->size) return a;
  }
  return NULL;
}
Result cuMemAlloc_v2(void **at, size_t size) { LOCKED(allocate(at, size, ON_DEVICE)); }
Result cuMemFree_v2(void *at) { LOCKED(give_back(at, 1)); }
Result cuMemHostAlloc(void **at, size_t size, unsigned flags) {
  LOCKED(allocate(at, size, flags & 2 ? MAPPED : ON_HOST));
}
Result cuMemFreeHost(void *at) { LOCKED(give_back(at, 0)); }
static Result device_pointer(void **device, void *host) {
  Allocation *a = holder(host, 1);
  if (!current()) return misuse(INVALID_CONTEXT);
  if (!a || a->kind != MAPPED) return misuse(INVALID_VALUE);
  *device = host;
  return OK;
}
Result cuMemHostGetDevicePointer_v2(void **device, void *host, unsigned flags) {
  LOCKED(device_pointer(device, host));
}

static Stream *find(Stream *wanted) {
  for (Stream *s = streams; s; s = s->next) if (s == wanted) return s;
  return NULL;
}
static Result usable(Stream *s) {
  if (!find(s)) return misuse(INVALID_HANDLE);
  return current() == s->context ? OK : misuse(INVALID_CONTEXT);
}
static Result new_stream(Stream **s) {
  if (!current()) return misuse(INVALID_CONTEXT);
  *s = calloc(1, sizeof(Stream));
  **s = (Stream){.next = streams, .context = current()};
  streams = *s;
  live_streams++;
  return OK;
}
Result cuStreamCreate(Stream **s, unsigned flags) { LOCKED(new_stream(s)); }
static Result end_stream(Stream *s) {
  Result code = usable(s);
  if (code) return code;
  Stream **link = &streams;
  while (*link != s) link = &(*link)->next;
  *link = s->next;
  free(s);
  live_streams--;
  return OK;
}
Result cuStreamDestroy_v2(Stream *s) { LOCKED(end_stream(s)); }
static Result synchronise(Stream *s) {
  Result code = usable(s);
  if (code) return code;
  if (s->capture) { s->invalid = 1; return misuse(CAPTURE_UNSUPPORTED); }
  return broken();
}
Result cuStreamSynchronize(Stream *s) { LOCKED(synchronise(s)); }

static Result checked(Op *op) {
  if (op->call) return OK;
  return holder(op->to, op->size) && holder(op->from, op->size) ? OK : misuse(INVALID_VALUE);
}
static void perform(Op *op) {
  if (op->call) op->call(op->argument);
  else memcpy(op->to, op->from, op->size);
}
/* Record the work or do it at once, outside the lock. */
static Result put(Stream *s, Op op) {
  pthread_mutex_lock(&lock);
  Result code = usable(s);
  if (!code) code = checked(&op);
  if (!code) code = broken();
  int record = !code && s->capture;
  if (record) {
    if (s->capture->count == MAX_OPS) s->invalid = 1;
    else s->capture->ops[s->capture->count++] = op;
  }
  pthread_mutex_unlock(&lock);
  if (!code && !record) perform(&op);
  return code;
}
Result cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, Stream *s) {
  return put(s, (Op){.to = to, .from = from, .size = size});
}
Result cuMemcpyDtoHAsync_v2(void *to, void *from, size_t size, Stream *s) {
  return put(s, (Op){.to = to, .from = from, .size = size});
}
/* A kernel's place: called now, or at each launch of the graph that is being captured. */
Result double_enqueue(Stream *s, Callback call, void *argument) {
  return put(s, (Op){.call = call, .argument = argument});
}

static Result begin(Stream *s) {
  Result code = usable(s);
  if (code) return code;
  if (s->capture) return misuse(CAPTURE_UNSUPPORTED);
  s->capture = calloc(1, sizeof(Graph));
  s->invalid = 0;
  s->thread = pthread_self();
  return OK;
}
Result cuStreamBeginCapture_v2(Stream *s, int mode) { LOCKED(begin(s)); }
static Result end(Stream *s, Graph **graph) {
  *graph = NULL;
  Result code = usable(s);
  if (code || !s->capture) return code ? code : misuse(INVALID_VALUE);
  if (s->invalid) { free(s->capture); s->capture = NULL; return CAPTURE_INVALIDATED; }
  *graph = s->capture;
  s->capture = NULL;
  live_graphs++;
  return OK;
}
Result cuStreamEndCapture(Stream *s, Graph **graph) { LOCKED(end(s, graph)); }
static Result instantiate(Graph **executable, Graph *graph) {
  if (!current()) return misuse(INVALID_CONTEXT);
  *executable = malloc(sizeof(Graph));
  **executable = *graph;
  live_graphs++;
  return OK;
}
Result cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long flags) {
  LOCKED(instantiate(executable, graph));
}
static Result end_graph(Graph *graph) {
  if (!current()) return misuse(INVALID_CONTEXT);
  free(graph);
  live_graphs--;
  return OK;
}
Result cuGraphDestroy(Graph *graph) { LOCKED(end_graph(graph)); }
Result cuGraphExecDestroy(Graph *graph) { LOCKED(end_graph(graph)); }
Result cuGraphLaunch(Graph *graph, Stream *s) {
  pthread_mutex_lock(&lock);
  Result code = usable(s);
  for (int i = 0; !code && i < graph->count; i++) code = checked(&graph->ops[i]);
  if (!code) code = broken();
  launches++;
  pthread_mutex_unlock(&lock);
  for (int i = 0; !code && i < graph->count; i++) perform(&graph->ops[i]);
  return code;
}
