#include "descriptors.h"

#include "_cgo_export.h"

#include <limits.h>
#include <sys/stat.h>

/* The VM opens what it waits with first: its numbers are low. */
#define REMEMBERED 1024

typedef struct open_file {
    bool open;
    dev_t device;
    ino_t inode;
    mode_t mode;
} open_file;

static open_file files[REMEMBERED];

/* Files and devices are opened, read and closed; what has no type are poll sets and the like. */
static bool lasts(mode_t mode) { return S_ISSOCK(mode) || S_ISFIFO(mode) || (mode & S_IFMT) == 0; }

void descriptors_remember(void) {
    for (int i = 0; i < REMEMBERED; i++) {
        struct stat found;
        files[i].open = fstat(i, &found) == 0 && (i <= 2 || lasts(found.st_mode));
        if (files[i].open) {
            files[i].device = found.st_dev;
            files[i].inode = found.st_ino;
            files[i].mode = found.st_mode;
        }
    }
}

/* Pipes and sockets have an inode each. Those without one of their own (poll sets and the like) are
 * opened by the VM for its life. */
static bool is_remembered(long descriptor) {
    struct stat now;
    if (descriptor >= REMEMBERED || !files[descriptor].open || fstat((int)descriptor, &now) != 0) {
        return false;
    }
    const open_file *file = &files[descriptor];
    return file->device == now.st_dev && file->inode == now.st_ino && file->mode == now.st_mode;
}

bool descriptors_of_others(long descriptor) {
    return descriptor >= 0 && descriptor <= INT_MAX &&
           (is_remembered(descriptor) || core_owns_descriptor((int)descriptor));
}
