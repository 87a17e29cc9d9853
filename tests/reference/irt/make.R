# Graded response model and ordinal-logistic DIF, as R computes them with code of its own: mirt and ltm are not used.
# Run in this folder: Rscript make.R   (two to three minutes)
suppressMessages({library(psych); library(MASS); library(lavaan); library(numDeriv); library(jsonlite)})

# Data: the first 700 rows of psych's bfi (agreeableness and gender), blanks kept; A1 is keyed against the others.
data(bfi, package = if (requireNamespace("psychTools", quietly = TRUE)) "psychTools" else "psych")
x <- bfi[1:700, c("A1", "A2", "A3", "A4", "A5", "gender")]
write.csv(x, "bfi_agreeableness.csv", row.names = FALSE, na = "")
items <- c("A1", "A2", "A3", "A4", "A5")

# 1. Graded response: the marginal likelihood, maximised directly (no EM), Hessian by Richardson extrapolation.
nodes <- seq(-6, 6, length.out = 61); weights <- dnorm(nodes); weights <- weights / sum(weights)
y <- as.matrix(x[, items]); y <- y[rowSums(!is.na(y)) > 0, ]
K <- apply(y, 2, max, na.rm = TRUE)
minus_log_likelihood <- function(p) {
  total <- matrix(0, nrow(y), length(nodes)); at <- 0
  for (j in seq_along(K)) {
    a <- p[at + 1]; d <- p[at + 2:K[j]]; at <- at + K[j]
    if (any(diff(d) >= 0)) return(1e10)
    cumulative <- rbind(1, plogis(outer(d, a * nodes, "+")), 0)
    logs <- log(cumulative[1:K[j], ] - cumulative[1:K[j] + 1, ])
    here <- !is.na(y[, j])
    total[here, ] <- total[here, ] + logs[y[here, j], ]
  }
  -sum(log(exp(total) %*% weights))
}
start <- unlist(lapply(seq_along(K), function(j) {
  share <- rev(cumsum(rev(table(factor(y[, j], 1:K[j])))))[-1] / sum(!is.na(y[, j]))
  c(if (j == 1) -1 else 1, qlogis(share) * 1.2)
}))
fit <- optim(start, minus_log_likelihood, method = "BFGS", control = list(maxit = 1000, reltol = 1e-14))
for (again in 1:3) {  # Newton steps on the numerical Hessian take it to the top
  H <- hessian(minus_log_likelihood, fit$par)
  fit$par <- fit$par - solve(H, grad(minus_log_likelihood, fit$par))
}
H <- hessian(minus_log_likelihood, fit$par)
se <- sqrt(diag(solve(H)))

# 2. WLSMV with one factor, for the rough conversion a = 1.7 λ / sqrt(1 − λ²).
complete <- na.omit(x)
wlsmv <- cfa("f =~ A1 + A2 + A3 + A4 + A5", complete[, items], ordered = items, std.lv = TRUE)
standardized <- standardizedSolution(wlsmv)

# 3. DIF by gender with MASS::polr, matched on the total score (A1 turned round).
turned <- complete; turned$A1 <- 7 - turned$A1
score <- rowSums(turned[, items])
group <- as.numeric(turned$gender == 1)  # women (2) are the larger group: the reference
dif <- lapply(items, function(item) {
  z <- ordered(turned[[item]])
  s <- as.numeric(scale(score)) * sqrt(length(score) / (length(score) - 1))
  ll0 <- as.numeric(logLik(polr(z ~ 1, control = list(reltol = 1e-14))))
  m1 <- polr(z ~ s, control = list(reltol = 1e-14), Hess = TRUE)
  m2 <- polr(z ~ s + group, control = list(reltol = 1e-14), Hess = TRUE)
  m3 <- polr(z ~ s * group, control = list(reltol = 1e-14), Hess = TRUE)
  ll <- c(ll0, logLik(m1), logLik(m2), logLik(m3))
  list(item = item, log_likelihoods = ll, coefficients = as.numeric(coef(m2)), thresholds = as.numeric(m2$zeta),
       se = as.numeric(sqrt(diag(vcov(m2)))), chisq_uniform = 2 * (ll[3] - ll[2]), chisq_total = 2 * (ll[4] - ll[2]),
       delta_r2_total = (ll[4] - ll[2]) / -ll[1])
})
write_json(list(
  versions = list(R = R.version.string, psych = as.character(packageVersion("psych")), MASS = as.character(packageVersion("MASS")),
                  lavaan = as.character(packageVersion("lavaan")), numDeriv = as.character(packageVersion("numDeriv"))),
  graded = list(items = items, categories = as.numeric(K), parameters = fit$par, se = se,
                log_likelihood = -minus_log_likelihood(fit$par), n = nrow(y)),
  wlsmv = list(loadings = standardized$est.std[standardized$op == "=~"]),
  dif = dif), "bfi_agreeableness.json", digits = 10, auto_unbox = TRUE, pretty = TRUE)
