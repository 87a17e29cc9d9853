# Invariance of one form across two roles of the same dyads: lavaan, with identification by semTools. Run here: Rscript make.R
suppressMessages({library(lavaan); library(semTools); library(jsonlite)})
set.seed(5)
N <- 400; names <- paste0("x", 1:6)
# Two factors per role; the roles' factors correlate, and so do the residuals of matched items.
R <- matrix(.3, 4, 4); diag(R) <- 1; R[1, 2] <- R[2, 1] <- .6; R[3, 4] <- R[4, 3] <- .6; R[1, 3] <- R[3, 1] <- R[2, 4] <- R[4, 2] <- .45
f <- matrix(rnorm(N * 4), N) %*% chol(R); f[, 3:4] <- sweep(1.2 * f[, 3:4], 2, c(.3, .1), "+")
loading <- c(.8, .7, .75, .8, .65, .7); which <- rep(1:2, each = 3)
answer <- function(role) {
  sapply(1:6, function(j) {
    l <- loading[j]; shift <- 0
    if (role == 2 && j == 2) shift <- .6   # planted: another intercept
    y <- shift + l * f[, which[j] + 2 * (role - 1)] + sqrt(1 - l^2) * (sqrt(.15) * matched[, j] + sqrt(.85) * rnorm(N))
    as.integer(cut(y, c(-Inf, -1.3, -.5, .3, 1.1, Inf)))
  })
}
matched <- matrix(rnorm(N * 6), N)
d <- data.frame(answer(1), answer(2)); names(d) <- c(paste0("p_", names), paste0("c_", names))
d$cl <- sprintf("C%02d", rep(1:50, each = 8))
write.csv(d, "roles.csv", row.names = FALSE, quote = FALSE)
d <- read.csv("roles.csv")
model <- "Fp =~ p_x1 + p_x2 + p_x3\n Gp =~ p_x4 + p_x5 + p_x6\n Fc =~ c_x1 + c_x2 + c_x3\n Gc =~ c_x4 + c_x5 + c_x6"
facs <- list(F = c("Fp", "Fc"), G = c("Gp", "Gc"))
inds <- setNames(lapply(names, function(x) c(paste0("p_", x), paste0("c_", x))), names)
keep <- c("chisq", "df", "pvalue", "cfi", "tli", "rmsea", "srmr", "chisq.scaled", "df.scaled", "pvalue.scaled", "cfi.scaled", "tli.scaled", "rmsea.scaled")
run <- function(equal, ordered, extra = character()) {
  args <- list(configural.model = model, data = d, longFacNames = facs, longIndNames = inds, ID.fac = "std.lv", auto = "all", long.equal = equal, return.fit = TRUE)
  if (ordered) args <- c(args, list(ordered = unlist(inds), ID.cat = "Wu.Estabrook.2016", parameterization = "delta", estimator = "WLSMV")) else args <- c(args, list(meanstructure = TRUE, estimator = "MLR"))
  if (length(extra)) args$long.partial <- extra
  do.call(measEq.syntax, args)
}
describe <- function(fits) {
  out <- lapply(fits, function(g) { m <- fitMeasures(g); as.list(m[intersect(keep, names(m))]) })
  for (k in seq_along(fits)[-1]) {
    t <- lavTestLRT(fits[[k - 1]], fits[[k]]); out[[k]]$diff <- list(chisq = t[2, "Chisq diff"], df = t[2, "Df diff"], p = t[2, "Pr(>Chisq)"])
  }
  out
}
steps <- list(configural = "", thresholds = "thresholds", loadings = c("thresholds", "loadings"), intercepts = c("thresholds", "loadings", "intercepts"), means = c("thresholds", "loadings", "intercepts", "means"))
ordinal <- lapply(steps, run, ordered = TRUE)
linear <- lapply(list(configural = "", loadings = "loadings", intercepts = c("loadings", "intercepts"), residuals = c("loadings", "intercepts", "residuals"), means = c("loadings", "intercepts", "residuals", "means")), run, ordered = FALSE)
clustered <- lapply(list(configural = "", loadings = "loadings", intercepts = c("loadings", "intercepts")), function(e)
  measEq.syntax(model, data = d, longFacNames = facs, longIndNames = inds, ID.fac = "std.lv", auto = "all", long.equal = e, return.fit = TRUE,
                meanstructure = TRUE, estimator = "MLR", cluster = "cl"))
est <- function(g) { p <- parameterEstimates(g); p[p$op %in% c("=~", "~1", "~~") & !is.na(p$z), c("lhs", "op", "rhs", "est", "se")] }
write_json(list(versions = list(R = as.character(getRversion()), lavaan = as.character(packageVersion("lavaan")), semTools = as.character(packageVersion("semTools"))),
  ordinal = describe(ordinal), linear = describe(linear), clustered = describe(clustered), ordinal_intercepts = est(ordinal$intercepts)), "roles.json", digits = 10, auto_unbox = TRUE)
