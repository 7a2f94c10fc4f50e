/* bcryptprimitives.dll for Wine 8: the one call of it that programs of Windows 10 make. Test scaffolding only. */
#include <windows.h>
#include <ntsecapi.h>
#include <stdlib.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
    while (size) {
        ULONG part = size > 0x10000000 ? 0x10000000 : (ULONG)size;
        if (!RtlGenRandom(data, part)) abort();
        data += part;
        size -= part;
    }
    return TRUE;
}
