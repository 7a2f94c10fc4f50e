/* Contents/MacOS/gogrid-worker: becomes Contents/Resources/gogrid/gogrid-worker.
 * All of Contents/MacOS must be signed code, and the frozen app is mostly data; so it lies whole among the resources. */
#include <limits.h>
#include <mach-o/dyld.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INSIDE "/../Resources/gogrid/gogrid-worker"

int main(int count, char **words)
{
    char asked[PATH_MAX], own[PATH_MAX], program[PATH_MAX + sizeof INSIDE];
    uint32_t size = sizeof asked;
    if (count < 1 || _NSGetExecutablePath(asked, &size) != 0 || realpath(asked, own) == NULL) {
        fputs("gogrid-worker: this program cannot find its own folder\n", stderr);
        return 2;
    }
    *strrchr(own, '/') = '\0';
    snprintf(program, sizeof program, "%s" INSIDE, own);
    if (realpath(program, asked) != NULL) {
        words[0] = asked;
        execv(asked, words);
    }
    perror(program);
    return 2;
}
