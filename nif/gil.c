#include "gil.h"

_Atomic int gil_waiters;
