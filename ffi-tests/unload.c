/* A program that loads the library at run time, and lets go of it with a manager still open. Built without linking it:
 * its path is the argument. */
#include <dlfcn.h>

#include "check.h"

typedef unitwait_code (*open_function)(uint32_t, int, int64_t, unitwait_manager **, unitwait_error **);
typedef unitwait_code (*property_function)(
    const unitwait_manager *, const char *, const char *, int64_t, unitwait_value **, unitwait_error **);
typedef unitwait_code (*free_function)(void *);
typedef uint32_t (*abi_function)(void);

static void *library;

/* ISO C has no conversion from an object's pointer to a function's; POSIX says that this one is right. */
#define FUNCTION(type, name)                     \
    type name;                                   \
    do {                                         \
        void *found = dlsym(library, "unitwait_" #name); \
        CHECK(found != NULL);                    \
        memcpy(&name, &found, sizeof name);      \
    } while (0)

int main(int count, char **arguments) {
    int round;
    CHECK(count == 2);
    for (round = 0; round < 3; round++) {
        unitwait_manager *manager = NULL;
        unitwait_value *state = NULL;
        library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        CHECK(library != NULL);
        {
            FUNCTION(abi_function, abi);
            FUNCTION(open_function, open);
            FUNCTION(property_function, property);
            FUNCTION(free_function, free);
            CHECK(abi() == UNITWAIT_ABI);
            CHECK(open(UNITWAIT_ABI, UNITWAIT_SYSTEM_BUS, 60000, &manager, NULL) == UNITWAIT_OK);
            /* The dbus thread runs in the library meanwhile. */
            CHECK(dlclose(library) == 0);
            CHECK(property(manager, "init.scope", "ActiveState", 60000, &state, NULL) == UNITWAIT_OK);
            CHECK(free(state) == UNITWAIT_OK);
            if (round > 0) CHECK(free(manager) == UNITWAIT_OK);
        }
    }
    return 0;
}
