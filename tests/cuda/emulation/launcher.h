// Exports of a kernel: its signature as text, and its launch with an array of argument pointers.
//
// The kernels stand in an anonymous namespace: that gives even static variables inside templates
// and inline functions (shared memory) a place in one linker section.
#pragma once
#include "ptx_emulation.h"

#define EMULATED_KERNELS_BEGIN namespace {
#define EMULATED_KERNELS_END }

namespace emulation {

// Types as text: f, i, u or V (anything else) and the number of bytes; pointers with `const *`.
template <class T> struct Code {
    static constexpr char letter = 'V';
};
#define EMULATED_CODE(type, kind)                 \
    template <> struct Code<type> {               \
        static constexpr char letter = kind;      \
    };
EMULATED_CODE(float, 'f')
EMULATED_CODE(double, 'f')
EMULATED_CODE(signed char, 'i')
EMULATED_CODE(short, 'i')
EMULATED_CODE(int, 'i')
EMULATED_CODE(long, 'i')
EMULATED_CODE(long long, 'i')
EMULATED_CODE(unsigned char, 'u')
EMULATED_CODE(unsigned short, 'u')
EMULATED_CODE(unsigned, 'u')
EMULATED_CODE(unsigned long, 'u')
EMULATED_CODE(unsigned long long, 'u')

struct Text {
    char text[1024];
    int length = 0;

    void add(const char* word) {
        while (*word && length < 1023) text[length++] = *word++;
        text[length] = 0;
    }
    void add(char letter, int size) {
        const char digits[] = {letter, (char)('0' + size / 10), (char)('0' + size % 10), 0};
        const char digit[] = {letter, (char)('0' + size), 0};
        add(size < 10 ? digit : digits);
    }
};

template <class T> struct Describe {
    static void to(Text& text) { text.add(Code<T>::letter, sizeof(T)); }
};
template <class T> struct Describe<T*> {
    static void to(Text& text) {
        text.add("*");
        Describe<T>::to(text);
    }
};
template <class T> struct Describe<const T*> {
    static void to(Text& text) {
        text.add("const *");
        Describe<T>::to(text);
    }
};

template <class T> struct Plain {
    typedef T type;
};
template <class T> struct Plain<const T> {
    typedef T type;
};

template <class... P> const char* signature(void (*)(P...)) {
    static Text text;
    text.length = 0;
    ((Describe<typename Plain<P>::type>::to(text), text.add(",")), ...);
    return text.text;
}

template <int... I> struct Indices {};
template <int N, int... I> struct Count : Count<N - 1, N - 1, I...> {};
template <int... I> struct Count<0, I...> {
    typedef Indices<I...> type;
};

template <class... P, int... I>
void call(void (*kernel)(P...), void** arguments, Indices<I...>) {
    kernel(*(typename Plain<P>::type*)arguments[I]...);
}
template <class... P> void call(void (*kernel)(P...), void** arguments) {
    call(kernel, arguments, typename Count<sizeof...(P)>::type());
}

}  // namespace emulation

#define EMULATED_KERNEL(name)                                                                   \
    extern "C" __attribute__((visibility("default"))) const char* emulated_signature_##name() { \
        return emulation::signature(&name);                                                     \
    }                                                                                           \
    static void emulated_call_##name(void** arguments) { emulation::call(&name, arguments); }   \
    extern "C" __attribute__((visibility("default"))) const char* emulated_run_##name(          \
        const emulation::Launch* launch, void** arguments) {                                    \
        return emulation::run(launch, emulated_call_##name, arguments);                         \
    }
