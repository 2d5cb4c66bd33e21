/* Every compiler conditional of the project stands here. */
#ifndef FC_COMPILER_H
#define FC_COMPILER_H

#if defined(_MSC_VER) && !defined(__clang__)
#define FC_RESTRICT __restrict
#else
#define FC_RESTRICT restrict
#endif

/* Pastes two names after expanding them: FC_JOIN(fc_conv_naive_forward_, FC_DTYPE). */
#define FC_JOIN_(a, b) a##b
#define FC_JOIN(a, b) FC_JOIN_(a, b)

#endif
