# Reciprocal one-with-many by nlme: run in this folder with `Rscript make_one_with_many.R`. Writes one_with_many.json and
# its data files halves.csv (simulated two halves) and math_achieve.csv (40 schools of nlme's MathAchieve).
library(nlme); library(jsonlite)
long <- function(d) {
  out <- rbind(data.frame(cl = d$cl, dy = d$dy, role = "P", y = d$P), data.frame(cl = d$cl, dy = d$dy, role = "C", y = d$C))
  out$role <- factor(out$role, levels = c("P", "C"))
  out <- out[!is.na(out$y), ]
  out[order(out$cl, out$dy, out$role), ]
}
tight <- lmeControl(maxIter = 500, msMaxIter = 500, tolerance = 1e-9, msTol = 1e-11, niterEM = 100)
fit <- function(d) {
  m <- lme(y ~ 0 + role, random = ~ 0 + role | cl, data = long(d), method = "REML", control = tight,
           correlation = corSymm(form = ~ as.integer(role) | cl / dy), weights = varIdent(form = ~ 1 | role))
  r <- unname(coef(m$modelStruct$corStruct, unconstrained = FALSE))
  s <- m$sigma * unname(coef(m$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)[c("P", "C")])
  list(log_likelihood = as.numeric(logLik(m)), mean = unname(fixef(m)), mean_se = unname(sqrt(diag(vcov(m)))),
       between = unname(as.matrix(getVarCov(m))[1:2, 1:2]), within = matrix(c(s[1]^2, r * s[1] * s[2], r * s[1] * s[2], s[2]^2), 2))
}
owm <- read.csv("owm.csv")
gaps <- owm
gaps$P[seq(3, nrow(gaps), by = 9)] <- NA
gaps$C[seq(5, nrow(gaps), by = 7)] <- NA
gaps$C[gaps$cl == 11] <- NA
keep <- unique(as.character(MathAchieve$School))[seq(1, 160, by = 4)]
math <- as.data.frame(MathAchieve)[as.character(MathAchieve$School) %in% keep, c("School", "SES", "MathAch")]
math$School <- as.integer(as.character(math$School))
write.csv(math, "math_achieve.csv", row.names = FALSE, quote = FALSE)
schools <- data.frame(cl = math$School, dy = seq_len(nrow(math)), P = math$SES, C = math$MathAch)

set.seed(20)
k <- 45; n <- sample(4:11, k, TRUE); cl <- rep(seq_len(k), n); total <- sum(n)
chol2 <- function(a, b, r) chol(matrix(c(a^2, r * a * b, r * a * b, b^2), 2))
u <- matrix(rnorm(2 * k), k) %*% chol2(.4, .8, .4); v <- matrix(rnorm(2 * total), total) %*% chol2(.8, .6, .4)
halves <- data.frame(cl = cl, dy = seq_len(total),
  P1 = round(3.0 + u[cl, 1] + v[, 1] + .7 * rnorm(total), 3), P2 = round(3.2 + u[cl, 1] + v[, 1] + .7 * rnorm(total), 3),
  C1 = round(2.9 + u[cl, 2] + v[, 2] + .5 * rnorm(total), 3), C2 = round(3.1 + u[cl, 2] + v[, 2] + .5 * rnorm(total), 3))
write.csv(halves, "halves.csv", row.names = FALSE, quote = FALSE)
stacked <- reshape(halves, direction = "long", varying = c("P1", "P2", "C1", "C2"), v.names = "y", timevar = "what",
                   times = c("P1", "P2", "C1", "C2"), idvar = "dy")
stacked$role <- factor(substr(stacked$what, 1, 1), levels = c("P", "C")); stacked$what <- factor(stacked$what, levels = c("P1", "P2", "C1", "C2"))
two <- lme(y ~ 0 + what, random = list(cl = pdSymm(~ 0 + role), dy = pdSymm(~ 0 + role)), data = stacked, method = "REML",
           weights = varIdent(form = ~ 1 | role), control = tight)
w <- coef(two$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)
rel <- function(name) { m <- as.matrix(two$modelStruct$reStruct[[name]]) * two$sigma^2; unname(m) }
reference <- list(
  versions = list(R = as.character(getRversion()), nlme = as.character(packageVersion("nlme"))),
  owm = fit(owm), gaps = fit(gaps), math_achieve = fit(schools),
  halves = list(log_likelihood = as.numeric(logLik(two)), mean = unname(fixef(two)), between = rel("cl"), relationship = rel("dy"),
                error = unname((two$sigma * w[c("P", "C")])^2)))
write_json(reference, "one_with_many.json", digits = 12, auto_unbox = TRUE, pretty = TRUE)
