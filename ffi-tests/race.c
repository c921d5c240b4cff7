/* Two threads that write the same number: what looks for races must find this one. */
#include <pthread.h>
#include <stddef.h>

#include <unitwait.h>

static int number;

static void *count(void *nothing) {
    int round;
    for (round = 0; round < 100000; round++) number++;
    return nothing;
}

int main(void) {
    pthread_t one, other;
    if (unitwait_abi() != UNITWAIT_ABI || pthread_create(&one, NULL, count, NULL) != 0 ||
        pthread_create(&other, NULL, count, NULL) != 0)
        return 1;
    return pthread_join(one, NULL) + pthread_join(other, NULL);
}
